// The token stands behind the # of the address, which a browser sends to nobody. It is kept for this tab alone, and goes
// with the one request that needs it.
"use strict";

(() => {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  const token = sessionStorage.getItem("token") || "";

  const say = (text) => { document.getElementById("said").textContent = text; };

  document.addEventListener("DOMContentLoaded", () => {
    const terminal = document.getElementById("terminal");
    if (!/^[\w-]+$/.test(token)) {
      say("This address is not complete: open the one that `mlgym-tui serve` printed.");
      return;
    }
    terminal.dataset.sessionWebsocketUrl = `ws://${location.host}/view/${token}`;
    terminal.className = "textual-terminal"; // which textual.js looks for
    new MutationObserver(() => {
      if (document.body.classList.contains("-first-byte")) {
        document.querySelector(".xterm-helper-textarea")?.focus(); // else nothing typed arrives before a click
      }
      if (document.body.classList.contains("-closed")) {
        fetch("/why", { method: "POST", headers: { Authorization: `Bearer ${token}` } })
          .then((answer) => answer.text())
          .then(say)
          .catch(() => say("`mlgym-tui serve` has ended. The session is not concerned."));
      }
    }).observe(document.body, { attributeFilter: ["class"] });
  });
})();
