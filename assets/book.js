// Small mends for the pages: search without a server, and scrolling by keyboard.
"use strict";

// A page opened from a file may not fetch another one, so the list of search results
// does without excerpts there.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Formulas, code and tables wider than the window scroll inside themselves; whoever
// has no pointer must be able to focus them for that.
function focusWhatScrolls() {
  const wide = "mjx-container[display], pre, .cell_output, .pst-scrollable-table-container";
  for (const element of document.querySelectorAll(wide)) {
    if (element.scrollWidth > element.clientWidth + 1) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  }
}

window.addEventListener("load", () => {
  const drawn = window.MathJax?.startup?.promise ?? Promise.resolve();
  drawn.then(focusWhatScrolls);
});
window.addEventListener("resize", focusWhatScrolls);
