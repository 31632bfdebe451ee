// Points in the Poincaré disk, drawn with WebGL 2. Moving the disk is a Möbius transformation
// z -> (u z + v) / (conj(v) z + conj(u)), which the vertex shader applies to every point.

const POINTS = `#version 300 es
in vec2 place; in float group; in float weight;
uniform vec2 u, v, size; uniform float scale, dot, lit; uniform vec3 palette[13];
out vec4 colour;
vec2 times(vec2 a, vec2 b) { return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
void main() {
  vec2 above = times(u, place) + v;
  vec2 below = times(vec2(v.x, -v.y), place) + vec2(u.x, -u.y);
  vec2 moved = times(above, vec2(below.x, -below.y)) / max(dot2(below), 1e-12);
  gl_Position = vec4(moved * scale * min(size.x, size.y) / size, 0.0, 1.0);
  gl_PointSize = lit > 0.0 ? 3.0 * dot + 6.0 : dot * (0.7 + 1.6 * weight);
  colour = lit > 0.0 ? vec4(palette[12], 1.0) : vec4(palette[int(min(group, 12.0))], 0.75);
}`.replace("void main", "float dot2(vec2 a) { return a.x * a.x + a.y * a.y; }\nvoid main");

const DOTS = `#version 300 es
precision highp float;
in vec4 colour; uniform float lit; out vec4 shown;
void main() {
  float away = length(gl_PointCoord - 0.5);
  if (away > 0.5 || (lit > 0.0 && away < 0.3)) discard;
  shown = vec4(colour.rgb * colour.a, colour.a);
}`;

// Of the groups; the last but one is for entities in none, the last for what is lit up.
export const PALETTE = [
  "#4477aa", "#ee6677", "#228833", "#b8860b", "#2a9fbf", "#aa3377", "#7a6fd0", "#e08030", "#4b9b8e", "#b05050", "#6b8e23", "#8a8a8a", "#d81b60",
];

const UNIFORMS = ["u", "v", "size", "scale", "dot", "lit", "palette"];

export class Disk {
  // x, y: Int16Array of places; groups, weights: Uint8Array; order: rows, those to draw first in front.
  constructor(canvas, { x, y, groups, weights, order }) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
    if (!this.gl) throw new Error("this browser has no WebGL 2");
    this.count = x.length;
    this.places = new Int16Array(2 * x.length);
    x.forEach((value, i) => { this.places[2 * i] = value; this.places[2 * i + 1] = y[i]; });
    this.u = [1, 0];
    this.v = [0, 0];
    this.scale = 0.95;
    this.lit = new Int16Array(0);
    this.program = link(this.gl);
    this.uniforms = Object.fromEntries(UNIFORMS.map((name) => [name, this.gl.getUniformLocation(this.program, name)]));
    this.gl.useProgram(this.program);
    this.gl.uniform3fv(this.uniforms.palette, PALETTE.flatMap(rgb));
    const ordered = new Int16Array(2 * x.length);
    order.forEach((row, i) => { ordered[2 * i] = x[row]; ordered[2 * i + 1] = y[row]; });
    const sorted = (values) => Uint8Array.from(order, (row) => values[row]);
    this.all = this.buffers(ordered, sorted(groups), sorted(weights));
    this.marked = null;
  }

  buffers(places, groups, weights) {
    const gl = this.gl, array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const give = (name, values, size, type, normal) => {
      const at = gl.getAttribLocation(this.program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, type, normal, 0, 0);
    };
    give("place", places, 2, gl.SHORT, true);
    give("group", groups, 1, gl.UNSIGNED_BYTE, false);
    give("weight", weights, 1, gl.UNSIGNED_BYTE, true);
    return array;
  }

  light(rows) {
    const places = new Int16Array(rows.flatMap((row) => [this.places[2 * row], this.places[2 * row + 1]]));
    const zero = new Uint8Array(rows.length);
    this.marked = rows.length ? this.buffers(places, zero, zero) : null;
    this.markedCount = rows.length;
  }

  // Draw the first `most` points, and all that are lit up: two calls at most. The points lie in buffers
  // of the graphics card; a frame sends the numbers of the Möbius transformation alone.
  draw(most = this.count) {
    const { gl, canvas, uniforms } = this;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniform2f(uniforms.u, ...this.u);
    gl.uniform2f(uniforms.v, ...this.v);
    gl.uniform2f(uniforms.size, width, height);
    gl.uniform1f(uniforms.scale, this.scale);
    gl.uniform1f(uniforms.dot, ratio * Math.min(6, 1.2 * Math.sqrt(this.scale)) * Math.max(1.3, Math.min(3, 60 / Math.sqrt(this.count))));
    gl.uniform1f(uniforms.lit, 0);
    gl.bindVertexArray(this.all);
    gl.drawArrays(gl.POINTS, 0, Math.min(most, this.count));
    if (!this.marked) return;
    gl.uniform1f(uniforms.lit, 1);
    gl.bindVertexArray(this.marked);
    gl.drawArrays(gl.POINTS, 0, this.markedCount);
  }

  // Where a row is drawn, in pixels of the page; the size of the canvas is given, since asking for it is slow.
  where(row, width, height) {
    const x = this.places[2 * row] / 32767, y = this.places[2 * row + 1] / 32767;
    const [a, b] = this.u, [c, d] = this.v;
    const tx = a * x - b * y + c, ty = a * y + b * x + d;
    const bx = c * x + d * y + a, by = c * y - d * x - b;
    const size = bx * bx + by * by, half = (Math.min(width, height) / 2) * this.scale;
    return [width / 2 + ((tx * bx + ty * by) / size) * half, height / 2 - ((ty * bx - tx * by) / size) * half];
  }

  // A place of the disk under a pixel, moved inside the rim.
  under(px, py) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const half = (Math.min(width, height) / 2) * this.scale;
    const x = (px - width / 2) / half, y = (height / 2 - py) / half, away = Math.hypot(x, y);
    return away < 0.97 ? [x, y] : [(x / away) * 0.97, (y / away) * 0.97];
  }

  // Move the disk so that what is at `from` comes to `to`: a shift of -from after which one of `to` follows.
  move(from, to) {
    for (const [x, y] of [[-from[0], -from[1]], to]) {
      const [a, b] = this.u, [c, d] = this.v;
      // (1, s; conj s, 1) times (u, v; conj v, conj u)
      const u = [a + x * c + y * d, b + y * c - x * d], v = [c + x * a + y * b, d + y * a - x * b];
      const size = Math.sqrt(Math.max(u[0] ** 2 + u[1] ** 2 - v[0] ** 2 - v[1] ** 2, 1e-12));
      this.u = u.map((part) => part / size);
      this.v = v.map((part) => part / size);
    }
  }

  zoom(factor) {
    this.scale = Math.min(60, Math.max(0.5, this.scale * factor));
  }
}

function link(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, POINTS], [gl.FRAGMENT_SHADER, DOTS]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}

const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255);
