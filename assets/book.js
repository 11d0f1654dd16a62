// Small mends for the pages: search without a server, and scrolling by keyboard.
"use strict";

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

window.addEventListener("load", () => {
  const sizes = new ResizeObserver((seen) => seen.forEach((s) => focusWhatScrolls(s.target)));
  const drawn = window.MathJax?.startup?.promise ?? Promise.resolve();
  drawn.then(() => document.querySelectorAll(WIDE).forEach((e) => sizes.observe(e)));
});
