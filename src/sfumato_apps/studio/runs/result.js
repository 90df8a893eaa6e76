/** What `sfumato frontier` and `sfumato sweep` kept, as points and curves. Pure; what is no number is left out. */

const NUMBER = /^(.*?)\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;
const finite = (value) => typeof value === "number" && Number.isFinite(value);
const list = (value) => (Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : []);
const span = (ends, value) => (Array.isArray(ends) && ends.length === 2 && ends.every(finite) ? ends : [value, value]);

/**
 * Models by two things that one wants more of.
 * @returns {{title: string, xLabel: string, yLabel: string, models: Object[]}} each with name, colour,
 *   x, y, xSpan, ySpan, front, chance and what else was measured; colours tell groups apart, where they are
 *   fewer than models
 */
export function frontierOf(result) {
  const known = list(result.models).filter(({ reward, div }) => finite(reward) && finite(div));
  const groups = [...new Set(known.map(({ group }) => String(group)))], apart = groups.length < known.length;
  const models = known.map((one) => ({
    name: String(one.model), group: String(one.group),
    colour: apart ? Math.min(groups.indexOf(String(one.group)), 3) : 0,
    x: one.reward, y: one.div, xSpan: span(one.reward_span, one.reward), ySpan: span(one.div_span, one.div),
    front: one.front === true, chance: one.chance, n: one.n, kl: one.kl, perplexity: one.perplexity, loops: one.loops,
  }));
  return { title: String(result.title ?? "Frontier"), xLabel: String(result.x_label ?? "reward"),
    yLabel: String(result.y_label ?? "div"), models };
}

/**
 * The border of what the models on the frontier reach, as corners: whoever lies below and left of it is beaten.
 * @param {{x: number, y: number, front: boolean}[]} models
 */
export function staircase(models) {
  const front = models.filter((one) => one.front).sort((a, b) => a.x - b.x || b.y - a.y);
  return front.flatMap(({ x, y }, i) => (i ? [[front[i - 1].x, y], [x, y]] : [[x, y]]));
}

/**
 * A report whose runs are one thing at several numbers, as curves.
 * @returns {?{axis: string, curves: Map<string, number[][]>}} points [number, value, standard error]; null for other
 *   reports, and where there are not two numbers
 */
export function sweepOf(report) {
  const runs = list(report.runs).map((run) => ({ run, found: NUMBER.exec(String(run.label)) }));
  const axes = new Set(runs.map(({ found }) => found?.[1] ?? null));
  if (runs.length < 2 || axes.size !== 1 || axes.has(null)) return null;
  const curves = new Map();
  for (const { run, found } of runs)
    for (const { name, value, stderr } of list(run.metrics))
      if (finite(value)) curves.set(String(name),
        [...(curves.get(String(name)) ?? []), [Number(found[2]), value, finite(stderr) ? stderr : 0]]);
  for (const points of curves.values()) points.sort((a, b) => a[0] - b[0]);
  return { axis: [...axes][0] || "at", curves: new Map([...curves].filter(([, points]) => points.length > 1)) };
}

/** A report as rows: the name of each number, then what each run has, {value, error} or null. */
export function rowsOf(report) {
  const runs = list(report.runs), tables = runs.map((run) =>
    new Map(list(run.metrics).map(({ name, value, stderr }) => [String(name), { value, error: stderr }])));
  const names = [...new Set(tables.flatMap((table) => [...table.keys()]))];
  return { labels: runs.map(({ label }) => String(label)),
    rows: names.map((name) => ({ name, cells: tables.map((table) => table.get(name) ?? null) })) };
}
