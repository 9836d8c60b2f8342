// Boxes on a picture: drawn, moved, resized, selected. Knows nothing of items and answers.

const LEAST_SCREEN_PX = 8; // a shorter drag is a click, or a fingertip that rolls
const GRIP_SCREEN_PX = {mouse: 9, pen: 14, touch: 20};
const COLOURS = ["#c0143a", "#1e7d32", "#2f4fc4", "#b35900", "#7a1fa0", "#00727a", "#8a6d00", "#b0179b", "#5b6100"];
const TAGS_PX = 20;

const rounded = (value) => Math.round(value * 100) / 100; // as it is saved
const areaOf = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

export class BoxEditor {
  constructor(canvas, onChange, onSelect) {
    Object.assign(this, {canvas, onChange, onSelect, boxes: [], selected: -1, picture: null, drag: null});
    Object.assign(this, {readOnly: false, labels: []});
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", () => this.#up());
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    // Else the browser takes a drag for a swipe, and the tap on a label that follows at once for its end: no click.
    canvas.addEventListener("touchstart", (event) => event.preventDefault(), {passive: false});
  }

  open(picture, boxes, labels, readOnly) {
    Object.assign(this, {picture, boxes, labels, readOnly, drag: null});
    this.selectOpen();
    this.fit();
  }

  close() {
    Object.assign(this, {picture: null, drag: null, boxes: []});
  }

  fit() {
    if (!this.picture) return;
    const place = this.canvas.parentElement;
    const {naturalWidth: width, naturalHeight: height} = this.picture;
    const zoom = Math.max(Math.min(3, (place.clientWidth - 8) / width, (place.clientHeight - 8) / height), 0.1);
    this.canvas.style.width = `${zoom * width}px`;
    this.canvas.style.height = `${zoom * height}px`;
    this.canvas.width = Math.round(zoom * width * devicePixelRatio); // of the screen: names are sharp on small frames
    this.canvas.height = Math.round(zoom * height * devicePixelRatio);
    this.draw();
  }

  selectOpen() {
    this.selected = this.boxes.findIndex((box) => !box[4]);
    if (this.selected < 0) this.selected = this.boxes.length - 1;
    this.onSelect();
  }

  select(index) {
    this.selected = index;
    this.onSelect();
    this.draw();
  }

  selectNext() {
    if (this.boxes.length) this.select((this.selected + 1) % this.boxes.length);
  }

  remove() {
    this.#change("remove", () => {
      this.boxes.splice(this.selected, 1);
      this.selected = this.boxes.length - 1;
    });
  }

  relabel(label) {
    this.#change("relabel", () => {
      this.boxes[this.selected][4] = label;
      const open = this.boxes.findIndex((box) => !box[4]);
      if (open >= 0) this.selected = open;
    });
  }

  add() {
    const {naturalWidth: width, naturalHeight: height} = this.picture;
    const side = Math.min(width, height) / 5;
    const box = [(width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2].map(rounded);
    this.#change("add", () => { this.selected = this.boxes.push([...box, ""]) - 1; });
  }

  nudge(dx, dy, resizes) {
    const {naturalWidth: width, naturalHeight: height} = this.picture;
    const step = Math.max(1, Math.round(width / 320));
    const [x1, y1, x2, y2, action] = this.boxes[this.selected];
    let moved;
    if (resizes) {
      moved = [x1, y1, Math.min(Math.max(x2 + dx * step, x1 + 2), width), Math.min(Math.max(y2 + dy * step, y1 + 2), height)];
    } else {
      const byX = Math.min(Math.max(dx * step, -x1), width - x2);
      const byY = Math.min(Math.max(dy * step, -y1), height - y2);
      moved = [x1 + byX, y1 + byY, x2 + byX, y2 + byY];
    }
    this.#change(`nudge ${this.selected}`, () => { this.boxes[this.selected] = [...moved.map(rounded), action]; });
  }

  // Presses of one arrow key after another are one change, told by `kind`.
  #change(kind, edit) {
    const earlier = structuredClone(this.boxes);
    edit();
    this.onChange(earlier, kind);
    this.onSelect();
    this.draw();
  }

  #framePx(screenPx) {
    return screenPx * this.picture.naturalWidth / this.canvas.clientWidth;
  }

  #pointOf(event) {
    const place = this.canvas.getBoundingClientRect();
    const inside = (value, size) => Math.min(Math.max(value, 0), size);
    return [
      inside(this.#framePx(event.clientX - place.left), this.picture.naturalWidth),
      inside(this.#framePx(event.clientY - place.top), this.picture.naturalHeight),
    ];
  }

  // Which edges of the selected box a point takes hold of; none within the middle of the box.
  #gripAt([x, y], radius) {
    const box = this.boxes[this.selected];
    if (!box || this.readOnly) return null;
    const [x1, y1, x2, y2] = box;
    if (x < x1 - radius || x > x2 + radius || y < y1 - radius || y > y2 + radius) return null;
    const within = [Math.min(radius, (x2 - x1) / 3), Math.min(radius, (y2 - y1) / 3)];
    const grip = {left: x - x1 <= within[0], right: x2 - x <= within[0], top: y - y1 <= within[1], bottom: y2 - y <= within[1]};
    return Object.values(grip).some(Boolean) ? grip : null;
  }

  #isIn(index, [x, y]) {
    const [x1, y1, x2, y2] = this.boxes[index];
    return x1 <= x && x <= x2 && y1 <= y && y <= y2;
  }

  #down(event) {
    if (!this.picture || !event.isPrimary || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    const from = this.#pointOf(event);
    const radius = this.#framePx(GRIP_SCREEN_PX[event.pointerType] || GRIP_SCREEN_PX.mouse);
    const grip = event.shiftKey ? null : this.#gripAt(from, radius);
    const moves = !grip && !event.shiftKey && this.selected >= 0 && this.#isIn(this.selected, from);
    this.drag = {from, to: from, grip, moves: moves && !this.readOnly};
  }

  #move(event) {
    if (!this.picture) return;
    if (this.drag) {
      this.drag.to = this.#pointOf(event);
      return this.draw();
    }
    const point = this.#pointOf(event);
    const grip = this.#gripAt(point, this.#framePx(GRIP_SCREEN_PX.mouse));
    this.canvas.style.cursor = grip ? cursorOf(grip)
      : this.selected >= 0 && this.#isIn(this.selected, point) && !this.readOnly ? "move" : "crosshair";
  }

  #up() {
    if (!this.drag) return;
    const {from, to, grip, moves} = this.drag;
    const box = this.#dragged();
    const least = this.#framePx(LEAST_SCREEN_PX);
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) >= least / 2;
    this.drag = null;
    if ((grip || moves) && far) this.#change("drag", () => { this.boxes[this.selected] = box; });
    else if (!this.readOnly && !grip && !moves && box[2] - box[0] >= least && box[3] - box[1] >= least) {
      this.#change("draw", () => { this.selected = this.boxes.push(box) - 1; });
    } else if (!grip) {
      const hit = [...this.boxes.keys()].filter((index) => this.#isIn(index, from));
      this.select(hit.sort((a, b) => areaOf(this.boxes[a]) - areaOf(this.boxes[b]))[0] ?? -1);
    }
    this.draw();
  }

  // The box that the drag makes or changes.
  #dragged() {
    const {from, to, grip, moves} = this.drag;
    const {naturalWidth: width, naturalHeight: height} = this.picture;
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    if (!grip && !moves) {
      return [...[Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])]
        .map(rounded), ""];
    }
    let [x1, y1, x2, y2, action] = this.boxes[this.selected];
    if (moves) {
      const byX = Math.min(Math.max(dx, -x1), width - x2);
      const byY = Math.min(Math.max(dy, -y1), height - y2);
      return [...[x1 + byX, y1 + byY, x2 + byX, y2 + byY].map(rounded), action];
    }
    const least = this.#framePx(LEAST_SCREEN_PX);
    if (grip.left) x1 = Math.max(Math.min(x1 + dx, x2 - least), 0);
    else if (grip.right) x2 = Math.min(Math.max(x2 + dx, x1 + least), width);
    if (grip.top) y1 = Math.max(Math.min(y1 + dy, y2 - least), 0);
    else if (grip.bottom) y2 = Math.min(Math.max(y2 + dy, y1 + least), height);
    return [...[x1, y1, x2, y2].map(rounded), action];
  }

  draw() {
    if (!this.picture) return;
    const context = this.canvas.getContext("2d");
    const scale = this.canvas.width / this.picture.naturalWidth;
    context.setTransform(scale, 0, 0, this.canvas.height / this.picture.naturalHeight, 0, 0);
    context.drawImage(this.picture, 0, 0);
    const changes = this.drag && (this.drag.grip || this.drag.moves);
    this.boxes.forEach((box, index) => {
      if (index !== this.selected) this.#drawBox(context, box, false);
    });
    if (this.selected >= 0) this.#drawBox(context, changes ? this.#dragged() : this.boxes[this.selected], true);
    if (this.drag && !changes && !this.readOnly) this.#drawBox(context, this.#dragged(), true);
  }

  #drawBox(context, [x1, y1, x2, y2, action], isSelected) {
    const px = (screen) => this.#framePx(screen);
    const place = this.labels.indexOf(action);
    const colour = place < 0 ? "#222" : COLOURS[place % COLOURS.length];
    const edge = (style, wide) => {
      context.strokeStyle = style;
      context.lineWidth = px(wide);
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    };
    edge("#fff", isSelected ? 7 : 5); // told from any background
    edge(colour, isSelected ? 4 : 3);
    if (isSelected) {
      const half = px(5);
      for (const x of [x1, (x1 + x2) / 2, x2]) {
        for (const y of [y1, (y1 + y2) / 2, y2]) {
          if (x === (x1 + x2) / 2 && y === (y1 + y2) / 2) continue;
          context.fillStyle = colour;
          context.fillRect(x - half, y - half, 2 * half, 2 * half);
          context.fillStyle = "#fff";
          context.fillRect(x - half + px(1.5), y - half + px(1.5), 2 * half - px(3), 2 * half - px(3));
        }
      }
    }
    const text = action || "action?";
    const high = px(TAGS_PX);
    context.font = `${px(14)}px sans-serif`;
    const wide = context.measureText(text).width + px(8);
    const left = Math.min(x1, this.picture.naturalWidth - wide);
    const gap = isSelected ? px(7) : 0;
    const top = y1 - gap > high ? y1 - gap - high : Math.min(y2 + gap, this.picture.naturalHeight - high);
    context.fillStyle = colour;
    context.fillRect(left, top, wide, high);
    context.fillStyle = "#fff";
    context.fillText(text, left + px(4), top + px(15));
  }
}

function cursorOf({left, right, top, bottom}) {
  if ((left && top) || (right && bottom)) return "nwse-resize";
  if ((right && top) || (left && bottom)) return "nesw-resize";
  return left || right ? "ew-resize" : "ns-resize";
}
