// Reloads <main> of a page that has data-refresh while the page is visible. Everything also works without this script.
"use strict";

(() => {
  const EVERY_MS = 5000;
  const stale = document.getElementById("stale");
  const current = () => document.querySelector("main[data-refresh]");

  document.documentElement.classList.add("has-script");

  // A form that is in use: replacing it would lose what was entered.
  const isInUse = (main) => {
    const changed = (field) => {
      if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
      if (!field.options) return field.value !== field.defaultValue;
      return field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
    };
    const fields = [...main.querySelectorAll("input:not([type=hidden]), select, textarea")];
    const selection = document.getSelection();
    const isSelecting = selection && !selection.isCollapsed && main.contains(selection.anchorNode);
    return isSelecting || fields.some((field) => field === document.activeElement || changed(field));
  };

  // Names an element in a way that finds its counterpart in the new content.
  const nameOf = (element) => {
    if (!element || element === document.body) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    const href = element.getAttribute("href");
    return href ? `a[href="${CSS.escape(href)}"]` : null;
  };

  const replace = (main, fresh) => {
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    const name = nameOf(focused);
    const nth = name ? [...main.querySelectorAll(name)].indexOf(focused) : -1;
    const open = [...main.querySelectorAll("details")].map((details) => details.open);
    const scrolled = [...main.querySelectorAll(".scroll")].map((element) => element.scrollLeft);
    const { scrollX, scrollY } = window;

    main.replaceWith(fresh);
    const details = [...fresh.querySelectorAll("details")];
    if (details.length === open.length) details.forEach((element, index) => { element.open = open[index]; });
    fresh.querySelectorAll(".scroll").forEach((element, index) => { element.scrollLeft = scrolled[index] || 0; });
    if (focused) {
      const found = name ? fresh.querySelectorAll(name) : [];
      (found[nth] || found[0] || fresh).focus({ preventScroll: true });
    }
    window.scrollTo(scrollX, scrollY);
  };

  const refresh = async () => {
    const before = current();
    if (!before || document.hidden || isInUse(before)) return;
    let text = null;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) text = await answer.text();
    } catch {
      // The server has ended, or the machine has slept. The page says so, and the next attempt may succeed.
    }
    stale.hidden = text !== null;
    if (text === null) return;
    const page = new DOMParser().parseFromString(text, "text/html");
    const main = current();
    const fresh = page.querySelector("main"); // without data-refresh if it is complete now, and then it stays
    if (!main || !fresh || isInUse(main)) return;
    document.getElementById("as-of").replaceWith(page.getElementById("as-of"));
    if (main.innerHTML !== fresh.innerHTML) replace(main, document.adoptNode(fresh));
  };

  const again = async () => {
    await refresh();
    setTimeout(again, EVERY_MS);
  };
  if (current()) setTimeout(again, EVERY_MS);
  document.addEventListener("visibilitychange", refresh);
})();
