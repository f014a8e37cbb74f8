// Replaces the page's content by a fresh one, again and again. Without this
// script the page reloads as a whole.
"use strict";

async function refresh() {
  const main = document.querySelector("main");
  let wait = Number(main.dataset.refresh);
  if (!document.hidden) {
    try {
      const answer = await fetch("/", { cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
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

setTimeout(refresh, 1000);
