"use strict";

const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);

// Libraries are kept as text, which no markup in their code can end, and loaded from memory.
async function library(name) {
  const url = URL.createObjectURL(new Blob([read(`library-${name}`)], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

const { stimuli, sources } = read("data");
let shown = 0;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/* An image in its own pixels: one of its pixels is `zoom` pixels of the screen, whatever the browser's zoom. */
function panel(title, source, size, thumbnail, note = "") {
  const side = `${(size * byId("zoom").value) / window.devicePixelRatio}px`;
  const caption = element("figcaption", {}, title, note && element("br"), note);
  const image = element("img", { src: source, alt: title });
  image.style.width = image.style.height = side;
  image.addEventListener("error", () => {
    if (thumbnail && image.src !== thumbnail) {
      image.src = thumbnail;
      caption.append(element("br"), "Its file is not beside this page: this is the thumbnail.");
    }
  });
  return element("figure", {}, caption, image);
}

function stimulusPanel(n, title) {
  return panel(title, stimuli[n].href, stimuli[n].size, byId(`t${n}`).src);
}

function draw() {
  const stimulus = stimuli[shown];
  const source = sources[stimulus.source];
  byId("viewer-title").textContent = stimulus.id;
  const panels = [stimulusPanel(shown, stimulus.id)];
  if (source.stimulus !== undefined) {
    if (source.stimulus !== shown) {
      panels.push(stimulusPanel(source.stimulus, `source: ${stimuli[source.stimulus].id}`));
    }
  } else if (source.image) {
    panels.push(panel(`source: ${stimulus.source}`, source.image, stimulus.size, "", source.note));
  } else {
    panels.push(element("figure", {}, element("figcaption", {}, source.note)));
  }
  const other = byId("other").value;
  if (other !== "") {
    panels.push(stimulusPanel(Number(other), label(other)));
  }
  byId("panels").replaceChildren(...panels);
}

function label(n) {
  const { condition, seed } = stimuli[n];
  return seed === null ? condition : `${condition}, seed ${seed}`;
}

function open(n) {
  const before = byId("other").value === "" ? "" : label(byId("other").value);
  shown = n;
  const beside = stimuli
    .map((stimulus, number) => [stimulus, number])
    .filter(([stimulus, number]) => stimulus.source === stimuli[n].source && number !== n);
  byId("other").replaceChildren(
    element("option", { value: "", textContent: "nothing" }),
    ...beside.map(([, number]) =>
      element("option", { value: number, textContent: label(number), selected: label(number) === before })
    )
  );
  draw();
  if (!byId("viewer").open) {
    byId("viewer").showModal();
  }
}

const step = (by) => open((shown + by + stimuli.length) % stimuli.length);

document.querySelector(".grid").addEventListener("click", (event) => {
  const chosen = event.target.closest(".stimulus");
  if (chosen) {
    open(Number(chosen.dataset.n));
  }
});
byId("close").addEventListener("click", () => byId("viewer").close());
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("other").addEventListener("change", draw);
byId("zoom").addEventListener("change", draw);
byId("viewer").addEventListener("close", () => document.querySelector(`[data-n="${shown}"]`).focus());
byId("viewer").addEventListener("keydown", (event) => {
  if (event.target.tagName !== "SELECT" && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    step(event.key === "ArrowLeft" ? -1 : 1);
  }
});

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const copied = byId(button.dataset.of);
    try {
      await navigator.clipboard.writeText(copied.innerText);
      button.textContent = "Copied";
    } catch {
      // Browsers refuse it to some local pages: the text is marked, to be copied by hand.
      getSelection().selectAllChildren(copied);
      button.textContent = "Marked: copy it with the keyboard";
    }
  });
}

async function drawPlots() {
  const plots = read("plots-data");
  await library("plotly");
  const config = { displaylogo: false, responsive: true, displayModeBar: false };
  const drawAll = async () => {
    for (const { id, layout, views } of plots) {
      await window.Plotly.react(`plot-${id}`, views[byId("view").value], layout, config);
      // One at a time, so that the page answers in between.
      await new Promise((resolve) => setTimeout(resolve));
    }
  };
  const resizeAll = (size) => {
    for (const plot of document.querySelectorAll(".plot")) {
      window.Plotly.relayout(plot, size);
    }
  };
  byId("view").addEventListener("change", drawAll);
  // What fits the paper, and not the window.
  addEventListener("beforeprint", () => resizeAll({ autosize: false, width: 660 }));
  addEventListener("afterprint", () => resizeAll({ autosize: true, width: null }));
  await drawAll();
}

/* Cells are kept as they are in the file; three digits are shown, all are sorted by and saved. */
function cell(number) {
  return (value, purpose) => {
    if (purpose === "sort" || purpose === "type") {
      return number ? (value === "" ? -Infinity : Number(value)) : value;
    }
    if (purpose === "display") {
      const short = number && value !== "" ? String(Number(Number(value).toPrecision(3))) : value;
      return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
    }
    return value;
  };
}

async function drawTable() {
  const { columns, rows } = read("table-data");
  const { default: DataTable } = await library("datatables");
  new DataTable("#stimuli-table", {
    data: rows,
    columns: columns.map(({ name, number, shown: visible }) => ({
      title: name,
      visible,
      type: number ? "num" : "string",
      className: number ? "dt-right" : "dt-left",
      render: cell(number),
    })),
    headerCallback: (header) => {
      for (const heading of header.querySelectorAll("th")) {
        const described = columns.find(({ name }) => name === heading.innerText.trim());
        heading.title = described ? described.title : "";
      }
    },
    order: [],
    pageLength: 25,
    scrollX: true,
    layout: {
      topStart: {
        buttons: [
          {
            extend: "csvHtml5",
            text: "Save as CSV",
            filename: "stimuli",
            title: null,
            exportOptions: { columns: "", orthogonal: "export", format: { header: (_, n) => columns[n].name } },
          },
          { extend: "colvis", text: "Columns" },
        ],
      },
      topEnd: { search: { text: "Filter" } },
    },
  });
  // The keyboard scrolls it too.
  Object.assign(document.querySelector(".dt-scroll-body"), { tabIndex: 0, role: "region", ariaLabel: "Rows of the table" });
}

if (stimuli.length) {
  await drawTable();
  await drawPlots();
}
performance.mark("drawn");
document.documentElement.dataset.ready = "yes";
