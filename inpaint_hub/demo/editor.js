// The photo and the mask painted over it. Runs once, when gradio has put the component on the page;
// gradio passes in: element, trigger, props, upload, watch.
//
// The mask is a canvas of at most MASK_SIDE px, opaque red where the photo is to be filled. What was
// done to it is a list of steps over a base, so that undo is drawing the list without its last one.
const MASK_SIDE = 2048;
const MAX_STEPS = 40;
const RED = "#ff1744";
const $ = (name) => element.querySelector("[data-part=" + name + "]");
const stage = $("stage"), sheet = $("sheet"), picture = $("picture"), canvas = $("mask");
const ring = $("ring"), rubber = $("rubber"), note = $("note"), empty = $("empty");
const sizeInput = $("size"), sizeLabel = $("size-label"), file = $("file"), liveBox = $("live");
const pen = canvas.getContext("2d", { willReadFrequently: false });
const state = {
  width: 0, height: 0, scale: 1, zoom: 1, tool: "brush", id: null,
  base: null, steps: [], undone: [], stroke: null, cursor: null, uploading: null,
  changes: 0, // of the mask since the page was opened
};
// What the visitor chose stays for their visit, whatever photo comes next: no answer of the server
// sets it. A photo that is too large for drafts is opened without them all the same.
let wantsLive = window.inpaintEditor ? window.inpaintEditor.wantsLive() : true;

function say(text, isError) {
  note.textContent = text;
  note.classList.toggle("ih-error", Boolean(isError));
  note.setAttribute("role", isError ? "alert" : "status");
}

// --- drawing -------------------------------------------------------------------------------------

function newCanvas() {
  const made = document.createElement("canvas");
  made.width = canvas.width;
  made.height = canvas.height;
  return made;
}

function copied(source) {
  const made = newCanvas();
  made.getContext("2d").drawImage(source, 0, 0);
  return made;
}

function line(context, step, from) {
  const points = step.points;
  context.globalCompositeOperation = step.tool === "eraser" ? "destination-out" : "source-over";
  context.strokeStyle = context.fillStyle = RED;
  context.lineWidth = step.size;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  if (points.length === 1) {
    context.arc(points[0][0], points[0][1], step.size / 2, 0, 2 * Math.PI);
    context.fill();
  } else {
    context.moveTo(points[from][0], points[from][1]);
    for (const [x, y] of points.slice(from + 1)) context.lineTo(x, y);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

function filledBox(context, step) {
  const [[x0, y0], [x1, y1]] = step.points;
  context.fillStyle = RED;
  context.fillRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
}

function inverted() {
  const before = copied(canvas);
  pen.fillStyle = RED;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "destination-out";
  pen.drawImage(before, 0, 0);
  pen.globalCompositeOperation = "source-over";
}

function grown(radius) {
  const before = copied(canvas);
  for (let turn = 0; turn < 24; turn++) {
    const angle = (turn / 24) * 2 * Math.PI;
    for (let r = radius; r > 0; r -= Math.max(1, radius / 2)) {
      pen.drawImage(before, r * Math.cos(angle), r * Math.sin(angle));
    }
  }
}

function play(step) {
  if (step.kind === "stroke") line(pen, step, 0);
  else if (step.kind === "box") filledBox(pen, step);
  else if (step.kind === "clear") pen.clearRect(0, 0, canvas.width, canvas.height);
  else if (step.kind === "invert") inverted();
  else if (step.kind === "grow") grown(step.radius);
  else if (step.kind === "shrink") { inverted(); grown(step.radius); inverted(); }
  else if (step.kind === "mask") {
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(step.image, 0, 0, canvas.width, canvas.height);
  }
}

function replay() {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (state.base) pen.drawImage(state.base, 0, 0);
  state.steps.forEach(play);
}

function done(step, alreadyDrawn) {
  if (!alreadyDrawn) play(step);
  state.steps.push(step);
  state.undone = [];
  if (state.steps.length > MAX_STEPS) { // the oldest ones become the base
    const kept = state.steps.slice(MAX_STEPS / 2), all = copied(canvas);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (state.base) pen.drawImage(state.base, 0, 0);
    state.steps.slice(0, MAX_STEPS / 2).forEach(play);
    state.base = copied(canvas);
    state.steps = kept;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(all, 0, 0);
  }
  changed();
}

function undo() {
  if (!state.steps.length) return;
  state.undone.push(state.steps.pop());
  replay();
  changed();
}

function redo() {
  if (!state.undone.length) return;
  const step = state.undone.pop();
  state.steps.push(step);
  play(step);
  changed();
}

function showHistory() {
  $("undo").disabled = !state.steps.length;
  $("redo").disabled = !state.undone.length;
}

function changed() {
  showHistory();
  state.changes += 1;
  if (liveBox.checked && state.id) trigger("input");
}

// --- the photo -----------------------------------------------------------------------------------

function layOut() {
  if (!state.width) return;
  const room = stage.getBoundingClientRect();
  const fit = Math.min((room.width - 2) / state.width, (room.height - 2) / state.height);
  const shown = fit * state.zoom;
  sheet.style.width = Math.max(1, Math.floor(state.width * shown)) + "px";
  sheet.style.height = Math.max(1, Math.floor(state.height * shown)) + "px";
  moveRing(null);
}

function zoomTo(zoom) {
  const center = [
    (stage.scrollLeft + stage.clientWidth / 2) / Math.max(1, sheet.offsetWidth),
    (stage.scrollTop + stage.clientHeight / 2) / Math.max(1, sheet.offsetHeight),
  ];
  state.zoom = Math.min(Math.max(zoom, 1), 16);
  layOut();
  stage.scrollLeft = center[0] * sheet.offsetWidth - stage.clientWidth / 2;
  stage.scrollTop = center[1] * sheet.offsetHeight - stage.clientHeight / 2;
}

// The slider's position goes with the square of the size: fine at the thin end.
const thickest = () => Math.max(state.width, state.height) / 4;
function brushPx() {
  const t = Number(sizeInput.value) / 100;
  return Math.max(1, Math.round(t * t * thickest()));
}
function setBrush(px) {
  sizeInput.value = String(Math.min(100, Math.round(100 * Math.sqrt(px / thickest()))));
  showSize();
}
function showSize() {
  const px = state.width ? brushPx() : 0;
  sizeLabel.textContent = px ? px + " px" : "";
  sizeInput.setAttribute("aria-valuetext", px + " pixels of the photo");
  moveRing(null);
}

async function show(message) {
  const image = new Image();
  image.src = message.url;
  await image.decode();
  const mask = message.mask ? await decoded(message.mask) : null;
  Object.assign(state, {
    width: message.width, height: message.height, id: message.id, zoom: 1, base: null,
    steps: [], undone: [], stroke: null, cursor: null,
    scale: Math.min(1, MASK_SIDE / Math.max(message.width, message.height)),
  });
  stage.style.setProperty("--photo-shape", message.width / message.height);
  picture.src = message.url;
  picture.alt = "The photo " + message.name;
  canvas.width = Math.max(1, Math.round(message.width * state.scale));
  canvas.height = Math.max(1, Math.round(message.height * state.scale));
  empty.hidden = true;
  sheet.hidden = false;
  rubber.hidden = true;
  setBrush(Math.max(2, 0.07 * Math.min(message.width, message.height)));
  layOut();
  say(message.note || "");
  if (mask) {
    play({ kind: "mask", image: mask });
    state.base = copied(canvas);
  }
  showHistory(); // no draft: nothing was drawn yet
  liveBox.checked = wantsLive && Boolean(message.live);
  element.dataset.photo = message.id;
}

// A mask picture (white, or opaque, = fill) -> canvas, red where it is to be filled.
async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const made = document.createElement("canvas");
  made.width = image.naturalWidth;
  made.height = image.naturalHeight;
  const context = made.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, made.width, made.height), bytes = data.data;
  for (let i = 0; i < bytes.length; i += 4) {
    const hole = bytes[i] > 127 && bytes[i + 3] > 127;
    bytes[i] = 255; bytes[i + 1] = 23; bytes[i + 2] = 68; bytes[i + 3] = hole ? 255 : 0;
  }
  context.putImageData(data, 0, 0);
  return made;
}

async function take(files) {
  const photo = [...files].find((f) => f.type.startsWith("image/") || /\.\w+$/.test(f.name));
  if (!photo) return say("That is no picture file; take a photo as .jpg, .png, .webp or .tif.", true);
  say("Uploading " + photo.name + " ...");
  element.classList.add("ih-busy");
  try {
    const { path } = await upload(photo);
    state.uploading = {
      path, orig_name: photo.name, size: photo.size, meta: { _type: "gradio.FileData" },
    };
    trigger("upload");
  } catch (error) {
    say("The upload failed (" + (error.message || error) + "); try again, or take a smaller file.", true);
  }
  element.classList.remove("ih-busy");
}

// --- pointers ------------------------------------------------------------------------------------

function place(event) { // in px of the mask
  const box = sheet.getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width) * canvas.width,
    ((event.clientY - box.top) / box.height) * canvas.height,
  ];
}

function moveRing(point) {
  const at = point || state.cursor;
  ring.hidden = !at || state.tool === "box";
  if (!at || !state.width) return;
  const shown = sheet.offsetWidth / canvas.width, side = brushPx() * state.scale * shown;
  ring.style.width = ring.style.height = side + "px";
  ring.style.left = at[0] * shown - side / 2 + "px";
  ring.style.top = at[1] * shown - side / 2 + "px";
}

function showRubber(points) {
  const [[x0, y0], [x1, y1]] = points, shown = sheet.offsetWidth / canvas.width;
  rubber.hidden = false;
  rubber.style.left = Math.min(x0, x1) * shown + "px";
  rubber.style.top = Math.min(y0, y1) * shown + "px";
  rubber.style.width = Math.abs(x1 - x0) * shown + "px";
  rubber.style.height = Math.abs(y1 - y0) * shown + "px";
}

function abandon() {
  state.stroke = null;
  rubber.hidden = true;
  replay();
}

sheet.addEventListener("pointerdown", (event) => {
  if (!state.width || (event.pointerType === "mouse" && event.button !== 0)) return;
  if (!event.isPrimary) return abandon(); // a second finger: they mean to zoom
  event.preventDefault();
  stage.focus({ preventScroll: true });
  sheet.setPointerCapture(event.pointerId);
  const point = place(event);
  if (state.tool === "box") {
    state.stroke = { kind: "box", pointer: event.pointerId, points: [point, point] };
  } else {
    // A stroke begins where this pointer is now: nothing of an earlier one is known to it.
    state.stroke = {
      kind: "stroke", tool: state.tool, size: Math.max(1, brushPx() * state.scale),
      pointer: event.pointerId, points: [point],
    };
    line(pen, state.stroke, 0);
  }
});

sheet.addEventListener("pointermove", (event) => {
  if (event.pointerType !== "touch") { state.cursor = place(event); moveRing(state.cursor); }
  const stroke = state.stroke;
  if (!stroke || stroke.pointer !== event.pointerId) return;
  if (stroke.kind === "box") {
    stroke.points[1] = place(event);
    return showRubber(stroke.points);
  }
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  const from = stroke.points.length - 1;
  for (const each of events.length ? events : [event]) stroke.points.push(place(each));
  line(pen, stroke, from);
});

function finish(event) {
  const stroke = state.stroke;
  if (!stroke || stroke.pointer !== event.pointerId) return;
  state.stroke = null;
  rubber.hidden = true;
  if (stroke.kind === "stroke") return done(stroke, true);
  const [[x0, y0], [x1, y1]] = stroke.points;
  if (Math.abs(x1 - x0) >= 1 && Math.abs(y1 - y0) >= 1) done(stroke);
}
sheet.addEventListener("pointerup", finish);
sheet.addEventListener("pointercancel", (event) => { if (state.stroke) abandon(); });
sheet.addEventListener("pointerleave", () => { if (!state.stroke) { state.cursor = null; ring.hidden = true; } });
sheet.addEventListener("contextmenu", (event) => event.preventDefault());

// --- buttons and keys ----------------------------------------------------------------------------

function useTool(tool) {
  state.tool = tool;
  for (const name of ["brush", "eraser", "box"]) {
    $(name).setAttribute("aria-pressed", String(name === tool));
  }
  moveRing(null);
}

const actions = {
  upload: () => file.click(),
  brush: () => useTool("brush"),
  eraser: () => useTool("eraser"),
  box: () => useTool("box"),
  undo, redo,
  clear: () => done({ kind: "clear" }),
  "zoom-in": () => zoomTo(state.zoom * 1.5),
  "zoom-out": () => zoomTo(state.zoom / 1.5),
  invert: () => done({ kind: "invert" }),
  grow: () => done({ kind: "grow", radius: Math.max(1, canvas.width / 200) }),
  shrink: () => done({ kind: "shrink", radius: Math.max(1, canvas.width / 200) }),
};
const needsNoPhoto = ["upload", "brush", "eraser", "box"];
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-part]");
  if (!button || !actions[button.dataset.part]) return;
  if (!state.width && !needsNoPhoto.includes(button.dataset.part)) {
    return say("There is no photo yet: upload one first.", true);
  }
  actions[button.dataset.part]();
});
empty.addEventListener("click", () => file.click());
file.addEventListener("change", () => { if (file.files.length) take(file.files); file.value = ""; });
sizeInput.addEventListener("input", showSize);
liveBox.addEventListener("change", () => { wantsLive = liveBox.checked; });

// Without a mouse: arrows move a point, space paints there.
stage.addEventListener("keydown", (event) => {
  if (!state.width) return;
  const step = event.shiftKey ? 10 : 2, by = step * Math.max(1, canvas.width / 400);
  const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
  const key = event.key.toLowerCase();
  if (moves[event.key]) {
    const [x, y] = state.cursor || [canvas.width / 2, canvas.height / 2];
    state.cursor = [
      Math.min(Math.max(x + moves[event.key][0], 0), canvas.width),
      Math.min(Math.max(y + moves[event.key][1], 0), canvas.height),
    ];
    moveRing(state.cursor);
  } else if (event.key === " ") {
    const point = state.cursor || [canvas.width / 2, canvas.height / 2];
    const tool = state.tool === "eraser" ? "eraser" : "brush";
    done({ kind: "stroke", tool, size: brushPx() * state.scale, points: [point] });
  } else if ((event.ctrlKey || event.metaKey) && key === "z") {
    if (event.shiftKey) redo(); else undo();
  } else if ((event.ctrlKey || event.metaKey) && key === "y") redo();
  else if (event.key === "[") setBrush(brushPx() / 1.25);
  else if (event.key === "]") setBrush(Math.max(brushPx() + 1, brushPx() * 1.25));
  else if (!event.ctrlKey && !event.metaKey && key === "b") useTool("brush");
  else if (!event.ctrlKey && !event.metaKey && key === "e") useTool("eraser");
  else if (!event.ctrlKey && !event.metaKey && key === "r") useTool("box");
  else return;
  event.preventDefault();
});

stage.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoomTo(state.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
}, { passive: false });

for (const kind of ["dragenter", "dragover"]) {
  element.addEventListener(kind, (event) => {
    event.preventDefault();
    element.classList.add("ih-over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  element.addEventListener(kind, (event) => {
    event.preventDefault();
    element.classList.remove("ih-over");
    if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}

const page = new AbortController(); // gradio may build the component again
if (window.inpaintEditor) window.inpaintEditor.leave();
document.addEventListener("paste", (event) => {
  const files = [...((event.clipboardData && event.clipboardData.files) || [])];
  if (files.some((f) => f.type.startsWith("image/"))) { event.preventDefault(); take(files); }
}, { signal: page.signal });
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const button = document.querySelector("#fill");
    if (button && !button.disabled) { event.preventDefault(); button.click(); }
  }
}, { signal: page.signal });
const observer = new ResizeObserver(layOut);
observer.observe(stage);

// --- what the page reads -------------------------------------------------------------------------

window.inpaintEditor = {
  leave: () => { page.abort(); observer.disconnect(); },
  wantsLive: () => wantsLive,
  // What every event of the page sends: the photo's id, the mask as a PNG in a data URL, how often
  // it was changed, and whether drafts are wanted.
  value: () => ({
    id: state.id,
    mask: state.width ? canvas.toDataURL("image/png") : null,
    changes: state.changes,
    live: liveBox.checked,
  }),
  uploaded: () => {
    const sent = { upload: state.uploading };
    state.uploading = null;
    return sent;
  },
  holes: () => { // share of the mask that is to be filled, for tests and the curious
    const bytes = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 3; i < bytes.length; i += 4) count += bytes[i] > 127;
    return count / (bytes.length / 4);
  },
};

let shown = null;
async function received() {
  const message = props.value;
  if (!message || !message.kind || message.serial === shown) return;
  shown = message.serial;
  try {
    if (message.kind === "photo") await show(message);
    else if (message.kind === "mask") done({ kind: "mask", image: await decoded(message.url) });
    else if (message.kind === "error") say(message.text, true);
  } catch (error) {
    say("The picture cannot be shown (" + (error.message || error) + ").", true);
  }
}
watch("value", received);
useTool("brush");
showHistory();
received();
