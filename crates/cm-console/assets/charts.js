// Drawings of numbers. Each has a title and a table of the same numbers for those who do not see it.

import { h, s, unique } from './dom.js';
import { count } from './format.js';

/** Severities from the worst; everything else is the last. */
export const SEVERITIES = ['critical', 'high', 'medium', 'low', 'info', 'other'];

/** Which of the severities a text is. */
export function severity(text) {
  const word = String(text ?? '').trim().toLowerCase();
  if (SEVERITIES.includes(word)) return word;
  return { moderate: 'medium', warning: 'medium', informational: 'info', severe: 'critical' }[word] ?? 'other';
}

function figure(title, drawing, rows, columns) {
  return h('figure', { class: 'figure' }, drawing,
    // A table takes no width from its style; what is around it does.
    h('div', { class: 'hidden-visually' }, h('table', {}, h('caption', {}, title), h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col' }, column)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map((cell, index) => h(index === 0 ? 'th' : 'td', index === 0 ? { scope: 'row' } : {}, cell))))))));
}

/** Bars beside their names: `[[name, value, tone?], …]`. */
export function bars(title, values) {
  const most = Math.max(1, ...values.map(([, value]) => value));
  const list = h('div', { class: 'bars', 'aria-hidden': 'true' }, values.map(([name, value, tone = 'accent']) => h('div', { class: 'bar-row' },
    h('span', { class: 'bar-name', title: name }, name),
    s('svg', { class: 'bar', viewBox: '0 0 100 8', preserveAspectRatio: 'none' }, s('rect', { class: 'bar-ground', width: 100, height: 8, rx: 1 }), s('rect', { class: `fill-${tone}`, width: (100 * value) / most, height: 8, rx: 1 })),
    h('span', { class: 'bar-value' }, count(value)))));
  return figure(title, list, values.map(([name, value]) => [name, count(value)]), ['Name', 'Count']);
}

/** Columns over time: `buckets` `[{start, end, counts: {severity: n}}]`, stacked by severity. */
export function timeline(title, buckets, label) {
  // Texts in a drawing shrink with it; on a narrow screen it is drawn narrower.
  const [width, height, base] = [matchMedia('(max-width: 640px)').matches ? 340 : 720, 150, 130];
  const total = (bucket) => SEVERITIES.reduce((sum, name) => sum + (bucket.counts[name] ?? 0), 0);
  const most = Math.max(1, ...buckets.map(total));
  const step = width / Math.max(1, buckets.length);
  const id = unique('timeline');
  const columns = buckets.map((bucket, index) => {
    let top = base;
    const parts = SEVERITIES.toReversed().map((name) => {
      const tall = ((bucket.counts[name] ?? 0) / most) * (base - 14);
      if (tall === 0) return null;
      top -= tall;
      return s('rect', { class: `fill-${name}`, x: index * step + step * 0.12, y: top, width: step * 0.76, height: tall });
    });
    return s('g', {}, s('title', {}, `${label(bucket)}: ${count(total(bucket))}`), s('rect', { class: 'column-ground', x: index * step, y: 0, width: step, height: base }), parts);
  });
  const ticks = buckets.map((bucket, index) => (index % Math.ceil(buckets.length / (width / 110)) === 0
    ? s('text', { class: 'tick', x: index * step + step * 0.12, y: height - 4 }, label(bucket)) : null));
  const drawing = s('svg', { class: 'timeline', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-labelledby': id }, s('title', { id }, title),
    s('line', { class: 'axis', x1: 0, x2: width, y1: base, y2: base }), s('text', { class: 'tick', x: 0, y: 9 }, count(most)), columns, ticks);
  return figure(title, drawing, buckets.filter(total).map((bucket) => [label(bucket), count(total(bucket))]), ['From', 'Count']);
}

/** A line through values in the order of time: `[[moment, value], …]`. */
export function sparkline(title, points, { low = 0, high = 1, width = 160, height = 36 } = {}) {
  if (points.length < 2) return h('span', { class: 'muted' }, 'no history');
  const values = points.map(([, value]) => value);
  const [least, most] = [Math.min(low, ...values), Math.max(high, ...values)];
  const x = (index) => 2 + (index / (points.length - 1)) * (width - 4);
  const y = (value) => height - 3 - ((value - least) / (most - least || 1)) * (height - 6);
  const path = values.map((value, index) => `${index === 0 ? 'M' : 'L'}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join('');
  const id = unique('spark');
  return s('svg', { class: 'sparkline', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-labelledby': id }, s('title', { id }, `${title}: from ${values[0]} to ${values.at(-1)}`),
    s('path', { class: 'spark-area', d: `${path}L${x(values.length - 1)} ${height}L2 ${height}Z` }), s('path', { class: 'spark-line', d: path }), s('circle', { class: 'spark-end', cx: x(values.length - 1), cy: y(values.at(-1)), r: 2.5 }));
}

/** What the colours mean. */
export const legend = () => h('ul', { class: 'legend', 'aria-label': 'Colours' }, SEVERITIES.map((name) => h('li', {}, h('span', { class: `swatch back-${name}` }), name)));
