// Small mends for the pages: search without a server, and scrolling by keyboard.
"use strict";

// Without scripts a page is light (`default_mode`); with them it follows the reader's
// system until the reader chooses, and does so before it is painted.
if ((localStorage.getItem("mode") ?? "auto") === "auto") {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  Object.assign(document.documentElement.dataset, { mode: "auto", theme: dark ? "dark" : "light" });
}

// A page opened from a file may not fetch another one, so the list of search results
// does without excerpts there.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Formulas, code and tables wider than the window scroll inside themselves; whoever
// has no pointer must be able to focus them for that. An element is looked at again
// whenever its size changes: when the window does, or a fold around it opens.
const WIDE = "mjx-container[display], pre, .cell_output, .pst-scrollable-table-container";

function focusWhatScrolls(element) {
  if (element.scrollWidth > element.clientWidth + 1) element.tabIndex = 0;
  else element.removeAttribute("tabindex");
}

// A formula that is still wider than its place is set smaller, down to what can be read.
const SMALLEST = 62;  // per cent of the page's type

function fitFormula(formula) {
  formula.dataset.size ??= formula.style.fontSize || "100%";  // as MathJax matched it
  formula.style.fontSize = formula.dataset.size;
  const share = formula.clientWidth / formula.scrollWidth;
  const fitting = parseFloat(formula.dataset.size) * (share - 0.01);
  if (share < 1) formula.style.fontSize = `${Math.max(SMALLEST, fitting)}%`;
}

window.addEventListener("load", () => {
  const sizes = new ResizeObserver((seen) => seen.forEach((s) => focusWhatScrolls(s.target)));
  const drawn = window.MathJax?.startup?.promise ?? Promise.resolve();
  drawn.then(() => {
    const formulas = document.querySelectorAll("mjx-container[display]");
    const fitAll = () => formulas.forEach(fitFormula);
    fitAll();
    window.addEventListener("resize", fitAll);
    document.querySelectorAll(WIDE).forEach((e) => sizes.observe(e));
    document.body.dataset.ready = "";
  });
});

// A term of the glossary shows its definition while the pointer or the focus is on it.
const note = Object.assign(document.createElement("div"),
  { id: "term-note", className: "term-note", role: "tooltip", hidden: true });

function showTerm(link) {
  const text = window.BOOK_TERMS?.[link.hash.slice(1)];
  if (!text) return;
  note.textContent = text;
  note.hidden = false;
  link.setAttribute("aria-describedby", note.id);
  const at = link.getBoundingClientRect(), width = document.documentElement.clientWidth;
  note.style.left = `${Math.max(8, Math.min(at.left, width - note.offsetWidth - 8)) + scrollX}px`;
  const below = at.bottom + note.offsetHeight + 8 < innerHeight;
  note.style.top = `${(below ? at.bottom + 4 : at.top - note.offsetHeight - 4) + scrollY}px`;
}

function hideTerm(link) {
  note.hidden = true;
  link?.removeAttribute("aria-describedby");
}

document.addEventListener("DOMContentLoaded", () => {
  document.body.append(note);
  document.querySelectorAll('main a.reference.internal[href*="#term-"]').forEach((link) => {
    for (const event of ["mouseenter", "focus"]) link.addEventListener(event, () => showTerm(link));
    for (const event of ["mouseleave", "blur"]) link.addEventListener(event, () => hideTerm(link));
    link.addEventListener("keydown", (e) => { if (e.key === "Escape") hideTerm(link); });
  });
});

// On paper the solutions stand at the end of the chapter, unfolded.
let places = [];

window.addEventListener("beforeprint", () => {
  const solutions = [...document.querySelectorAll("main div.solution")];
  if (!solutions.length || places.length) return;
  const end = Object.assign(document.createElement("section"), { className: "printed-solutions" });
  end.append(Object.assign(document.createElement("h2"), { textContent: "Solutions" }));
  for (const solution of solutions) {
    const place = document.createComment("solution");
    solution.replaceWith(place);
    places.push([place, solution]);
    end.append(solution);
  }
  document.querySelector("main article")?.append(end);
});

window.addEventListener("afterprint", () => {
  places.forEach(([place, solution]) => place.replaceWith(solution));
  places = [];
  document.querySelector(".printed-solutions")?.remove();
});
