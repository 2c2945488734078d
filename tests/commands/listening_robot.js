// Takes the listening test like a listener, through the page's own buttons, and reports to REPORT_TO.
"use strict";
(async () => {
  const log = {};
  const find = (id) => document.getElementById(id);
  const report = (outcome) => { location.href = "REPORT_TO" + encodeURIComponent(JSON.stringify(outcome)); };
  const until = async (what, holds) => {
    for (let tries = 0; tries < 1000; tries++) {
      if (holds()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error("waited in vain until " + what);
  };
  const check = (what, holds) => { if (!holds) throw new Error("it does not hold that " + what); };
  const carried = JSON.parse(find("test").textContent);
  const stored = () => JSON.parse(Object.values(localStorage)[0]);
  const sliders = () => [...find("columns").querySelectorAll("input")];
  const pressed = () => [find("reference"), ...find("columns").querySelectorAll("button")].map((b) => b.getAttribute("aria-pressed"));
  const position = () => Number(find("rate").dataset.position);
  const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
  const visible = (id) => !find(id).hidden;

  const rate = (count) => { // the reference gets 100, the next stimulus 90 ...
    const trial = carried.trials.findIndex((t) => t.name === document.body.dataset.page);
    const shuffled = carried.orders[stored().order].stimuli[trial];
    sliders().slice(0, count).forEach((slider, i) => {
      slider.value = 100 - 10 * shuffled[i];
      slider.dispatchEvent(new Event("input"));
      check("a slider that moves plays its version", pressed()[i + 1] === "true");
    });
  };

  const listen = async () => {
    press("p");
    await until("it plays", () => find("rate").dataset.state === "playing" && position() > 0.1);
    const length = Number(find("seek").max);
    for (const [key, heard] of [["2", 2], ["r", 0], ["1", 1]]) {
      await until("it is where a start from the beginning would show", () => position() > 0.1 && position() < 0.4 * length);
      const before = position();
      press(key);
      check("one version is heard, " + heard, pressed().every((value, i) => value === String(i === heard)));
      const moved = (position() - before + length) % length;
      check("it goes on where it was, not " + moved + " s further", moved < length / 2 && find("rate").dataset.state === "playing");
    }
    find("whole").click();
    find("seek").value = length - 0.05;
    find("seek").dispatchEvent(new Event("input"));
    await until("the loop begins anew", () => position() < length / 2);
    find("from").click();
    check("the loop is shorter", find("region").textContent.includes(" to "));
    press("p");
    check("it pauses", find("rate").dataset.state === "paused");
  };

  try {
    if (!sessionStorage.getItem("reloaded")) {
      check("the welcome comes first", visible("welcome"));
      find("listener").value = 'Ann "A", 1';
      find("begin").click();
      check("the training comes next", document.body.dataset.page === "training" && !find("next").disabled);
      await listen();
      find("next").click();
      check("nobody goes on unrated", find("next").disabled && find("missing").textContent === "Still to rate: A, B, C, D");
      rate(4);
      find("next").click();
      rate(1);
      sessionStorage.setItem("reloaded", JSON.stringify(stored()));
      location.reload();
      return;
    }
    const before = JSON.parse(sessionStorage.getItem("reloaded"));
    check("a reload goes on in the session", stored().session === before.session && stored().order === before.order);
    check("and at the clip", find("heading").textContent === "Clip 2 of 3");
    check("with its scores", find("missing").textContent === "Still to rate: B, C, D");
    check("as they were", Number(sliders()[0].value) === Object.values(stored().scores[document.body.dataset.page])[0]);
    rate(4);
    find("next").click();
    rate(4);
    find("back").click();
    check("one can go back to what is rated", find("missing").textContent === "" && !find("next").disabled);
    find("next").click();
    find("next").click();
    check("the end comes last", visible("finish"));
    find("save").click();
    check("saving names the file", find("saved").textContent.includes(carried.id + "-Ann_A_1-"));
    const csv = find("csv").value;
    find("discard").click();
    check("the next listener begins anew", visible("welcome") && localStorage.length === 0);
    report({ csv, session: before.session });
  } catch (error) {
    report({ error: String(error) });
  }
})();
