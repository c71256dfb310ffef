// Keeps the page fresh: one stream for all panels, closed while no one sees it.
"use strict";
(() => {
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  let stream = null, paused = false, heard = 0;

  const say = (text, lost) => {
    if (live.textContent !== text) live.textContent = text;
    live.className = lost ? "lost" : "";
  };

  const show = (event) => {
    heard = Date.now();
    say("live", false);
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const part = document.getElementById(id);
      if (!part) { location.reload(); return; } // a database that was not there
      if (id === "clock") part.textContent = html; else part.innerHTML = html; // escaped by the server
    }
  };

  const stop = () => { if (stream) stream.close(); stream = null; };
  const start = () => {
    stop();
    if (paused || document.hidden) return;
    heard = Date.now();
    stream = new EventSource("?events");
    stream.onmessage = show;
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) { stop(); say("paused", false); } else start();
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else start(); });
  setInterval(() => {
    if (paused || document.hidden) return;
    const quiet = Math.round((Date.now() - heard) / 1000);
    if (quiet > 4) say("no answer for " + quiet + " s", true);
    if (stream && stream.readyState === EventSource.CLOSED && quiet > 2) start();
  }, 1000);
  start();
})();
