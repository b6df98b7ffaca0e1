// Shows on the page Try what the entered text leads to, as one types. Everything also works without this script.
"use strict";

(() => {
  const AFTER_MS = 400;
  const form = document.getElementById("trial");
  let timer = 0;
  let latest = new AbortController();

  const show = (id, content) => document.getElementById(id).replaceChildren(...content.childNodes);

  const fail = (text) => {
    document.getElementById("result").replaceChildren();
    document.getElementById("summary").textContent = text;
  };

  const evaluate = async () => {
    latest.abort();
    // The server closes the connection of a much larger request before it is read.
    if (form.elements.event.value.length > Number(form.dataset.max)) return fail(form.dataset.tooLarge);
    latest = new AbortController();
    const { signal } = latest;
    try {
      const answer = await fetch(form.action, { method: "POST", body: new FormData(form), signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (signal.aborted) return;
      const main = page.querySelector("main");
      if (page.getElementById("result")) ["summary", "result"].forEach((id) => show(id, page.getElementById(id)));
      else fail(main ? main.textContent.trim() : answer.statusText);
    } catch {
      if (!signal.aborted) fail("The page does not answer. See the terminal where ./manage.py page runs.");
    }
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(evaluate, AFTER_MS);
  });
})();
