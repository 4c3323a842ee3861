"use strict";
// The page works without this script but for the slider, the sorting and the choice of light or dark.
(() => {
  const json = (element) => JSON.parse(element.textContent);

  // Light and dark: the system's choice, until the button says otherwise.
  const theme = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : system.matches;
  };
  const showTheme = () => (theme.textContent = `Switch to ${isDark() ? "light" : "dark"}`);
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  // Tables: a click on a head sorts by it, another turns the order round; what is not a number stands last.
  const collator = new Intl.Collator(undefined, { numeric: true });
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const numeric = head.classList.contains("numeric");
      head.querySelector("button").addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const first = numeric ? "descending" : "ascending";
        const other = numeric ? "ascending" : "descending";
        const order = before === first ? other : first;
        heads.forEach((each) => each.setAttribute("aria-sort", each === head ? order : "none"));
        const sign = order === "ascending" ? 1 : -1;
        const key = (row) => {
          const cell = row.cells[column];
          const text = cell.dataset.sort ?? "";
          const number = Number(text);
          return text === "" || Number.isNaN(number) ? { text: text || cell.textContent.trim() } : { number };
        };
        const sorted = [...body.rows].map((row) => ({ row, key: key(row) }));
        sorted.sort((a, b) => {
          const [p, q] = [a.key, b.key];
          if ("number" in p && "number" in q) return sign * (p.number - q.number);
          if ("number" in p || "number" in q) return "number" in p ? -1 : 1;
          return sign * collator.compare(p.text, q.text);
        });
        body.append(...sorted.map(({ row }) => row));
      });
    });
  }

  // Small pictures are enlarged pixel by pixel.
  const enlarge = (image) => image.classList.toggle("enlarged", image.naturalWidth > 0 && image.naturalWidth < 112);
  for (const image of document.querySelectorAll(".view img, .triple img, .look img")) {
    image.addEventListener("load", () => enlarge(image));
    if (image.complete) enlarge(image);
  }

  // The photograph that moves.
  const explore = (box) => {
    const { photographs } = json(box.querySelector(".data"));
    const charts = [...box.querySelectorAll(".of-photograph")];
    const stages = [...box.querySelectorAll(".view")];
    const truth = box.querySelector(".truth");
    const [select, slider, play] = ["select", "input", ".play"].map((name) => box.querySelector(name));
    const [rows, announce] = [".answers tbody", ".announce"].map((name) => box.querySelector(name));
    const heads = [...box.querySelectorAll(".answers thead th")];
    let photograph;

    const element = (name, text, className) => {
      const made = document.createElement(name);
      made.textContent = text;
      if (className) made.className = className;
      return made;
    };

    const showView = (speak) => {
      const view = Number(slider.value);
      const { picture, called, where: moved } = photograph.views[view];
      const place = `${called}: ${moved}`;
      stages.forEach((stage, number) => {
        const shown = [picture, ...(photograph.layers[number]?.[view] ?? [])];
        const pictures = shown.map((source, layer) => {
          const image = layer ? document.createElement("img") : stage.querySelector("img");
          image.src = source;
          image.alt = layer ? "" : `${photograph.name}, ${place}`;
          return image;
        });
        stage.querySelector(".layers").replaceChildren(...pictures);
        stage.querySelector(".where").textContent = place;
      });
      const said = [];
      rows.replaceChildren(
        ...photograph.networks.map((network) => {
          const changed = network.changed[view];
          const row = document.createElement("tr");
          const name = element("th", network.name);
          name.scope = "row";
          const swatch = element("span", "", `swatch ${network.series}`);
          swatch.setAttribute("aria-hidden", "true");
          name.prepend(swatch);
          row.append(
            name,
            ...network.cells[view].map((text, column) =>
              element("td", text, heads[column + 1].className || (changed ? "changed" : "")),
            ),
          );
          row.role = "row";
          name.role = "rowheader";
          [...row.cells].slice(1).forEach((cell, column) => {
            cell.dataset.label = heads[column + 1].textContent;
            cell.role = "cell";
          });
          said.push(`${network.name}: ${network.told[view]}`);
          return row;
        }),
      );
      slider.setAttribute("aria-valuetext", place);
      if (speak) announce.textContent = said.join("; ");
      // The chart's points that say something when pointed at are those of the first network, then of the next.
      const chart = charts[Number(select.value)];
      for (const drawing of chart.querySelectorAll("svg")) {
        const places = [...drawing.querySelectorAll("use:has(title)")].map((point) => Number(point.getAttribute("x")));
        const along = places.length ? places[view] - places[0] : 0;
        drawing.querySelector(".here").setAttribute("transform", `translate(${along} 0)`);
      }
    };

    const showPhotograph = () => {
      charts.forEach((chart, number) => (chart.hidden = number !== Number(select.value)));
      photograph = photographs[Number(select.value)];
      truth.textContent = photograph.label ? `It shows: ${photograph.label}` : "";
      slider.max = photograph.views.length - 1;
      slider.value = 0;
      const moves = { role: "application", tabindex: 0, "aria-label": "Move the photograph by its arrow keys" };
      for (const stage of stages) {
        stage.classList.toggle("draggable", photograph.is_grid);
        for (const [name, value] of Object.entries(moves)) {
          photograph.is_grid ? stage.setAttribute(name, value) : stage.removeAttribute(name);
        }
      }
      showView(false);
    };

    let timer = 0;
    const stop = () => {
      window.clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
      play.setAttribute("aria-pressed", "false");
    };
    play.addEventListener("click", () => {
      if (timer) return stop();
      play.textContent = "Stop";
      play.setAttribute("aria-pressed", "true");
      timer = window.setInterval(() => {
        slider.value = (Number(slider.value) + 1) % photograph.views.length;
        showView(false);
      }, 500);
    });
    slider.addEventListener("input", () => {
      stop();
      showView(true);
    });
    select.addEventListener("change", () => {
      stop();
      showPhotograph();
    });

    // Views that lie on a grid: the photograph itself is moved in both directions, by its arrow keys and by dragging.
    const show = (view) => {
      stop();
      if (view === undefined || view === Number(slider.value)) return;
      slider.value = view;
      showView(true);
    };
    const shift = () => photograph.views[Number(slider.value)].shift;
    const closest = (distance) => {
      const distances = photograph.views.map(({ shift: [down, right] }) => distance(down, right));
      const least = Math.min(...distances);
      return least < Infinity ? distances.indexOf(least) : undefined;
    };
    const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    let held; // where the photograph was taken hold of, and its shift then
    for (const stage of stages) {
      const pictures = stage.querySelector(".layers");
      stage.addEventListener("keydown", (event) => {
        const arrow = arrows[event.key];
        if (!arrow || !photograph.is_grid) return;
        event.preventDefault();
        const [y, x] = shift();
        show(
          closest((down, right) => {
            const [ahead, aside] = arrow[0] ? [(down - y) * arrow[0], right - x] : [(right - x) * arrow[1], down - y];
            return ahead > 0 && aside === 0 ? ahead : Infinity;
          }),
        );
      });
      pictures.addEventListener("pointerdown", (event) => {
        if (!photograph.is_grid) return;
        event.preventDefault();
        stage.focus();
        pictures.setPointerCapture(event.pointerId);
        held = { down: event.clientY, right: event.clientX, shift: shift() };
      });
      pictures.addEventListener("pointermove", (event) => {
        if (!held) return;
        // Half the picture's width is from one end of the grid to the other: a pixel would be too little to aim at.
        const places = photograph.views.map((view) => view.shift[1]);
        const pixel = pictures.clientWidth / 2 / (Math.max(...places) - Math.min(...places));
        const y = held.shift[0] + (event.clientY - held.down) / pixel;
        const x = held.shift[1] + (event.clientX - held.right) / pixel;
        show(closest((down, right) => Math.hypot(down - y, right - x)));
      });
      for (const end of ["pointerup", "pointercancel"]) pictures.addEventListener(end, () => (held = undefined));
    }

    showPhotograph();
  };
  document.querySelectorAll(".explorer").forEach(explore);

  // A link into a folded part unfolds it.
  const unfold = (hash) => document.getElementById(hash.slice(1))?.closest("details")?.setAttribute("open", "");
  document.addEventListener("click", (event) => unfold(event.target.closest("a[href^='#']")?.hash ?? ""));
  unfold(window.location.hash);

  // The section that is being read, in the list of sections.
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        links.forEach((link) => link.removeAttribute("aria-current"));
        links.get(target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  document.querySelectorAll("main > section").forEach((section) => watch.observe(section));
})();
