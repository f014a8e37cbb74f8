// Replaces the page's content by a fresh one, again and again. Without this
// script the page reloads as a whole.
"use strict";

async function refresh() {
  const main = document.querySelector("main");
  let wait = Number(main.dataset.refresh);
  const choosing = document.activeElement?.tagName === "SELECT"; // a refresh would close its list
  if (!document.hidden && !choosing) {
    try {
      const answer = await fetch("/", { cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const old of main.querySelectorAll("select")) {
        const select = fresh.getElementById(old.id);
        if (select) {
          select.value = old.value;
        }
      }
      const focused = document.activeElement && document.activeElement.id;
      main.replaceWith(fresh.querySelector("main"));
      document.title = fresh.title;
      document.body.className = "";
      if (focused) {
        document.getElementById(focused)?.focus({ preventScroll: true });
      }
    } catch {
      document.body.className = "gone";
      wait = 2000;
    }
  }
  setTimeout(refresh, wait);
}

document.addEventListener("change", (event) => event.target.blur());
setTimeout(refresh, 1000);
