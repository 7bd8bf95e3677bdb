// How values are written.

import { h } from './dom.js';

const ABSOLUTE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const STEPS = [[60, 'second', 1], [3600, 'minute', 60], [86400, 'hour', 3600], [2592000, 'day', 86400], [31536000, 'month', 2592000], [Infinity, 'year', 31536000]];

/** How long ago, in words. */
export function ago(text, now = Date.now()) {
  const seconds = (Date.parse(text) - now) / 1000;
  if (Number.isNaN(seconds)) return String(text);
  if (Math.abs(seconds) < 5) return 'just now';
  const [, unit, size] = STEPS.find(([below]) => Math.abs(seconds) < below);
  return RELATIVE.format(Math.round(seconds / size), unit);
}

/** A moment: how long ago, and when exactly for those who point at it. */
export function moment(text, { exact = false } = {}) {
  if (!text) return h('span', { class: 'muted' }, '–');
  const at = Date.parse(text);
  if (Number.isNaN(at)) return h('span', {}, text);
  const when = ABSOLUTE.format(at);
  return h('time', { datetime: text, title: exact ? text : when }, exact ? when : ago(text));
}

/** A number of bytes. */
export function bytes(count) {
  if (!Number.isFinite(count)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? count : count.toFixed(count < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A count. */
export const count = (number) => new Intl.NumberFormat('en').format(number);

/** One thing or several. */
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** An address within the console. */
export const to = (...segments) => `#/${segments.map((segment) => encodeURIComponent(segment)).join('/')}`;

/** Lower-case hexadecimal digits. */
export const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

/** The bytes of base64, with or without padding, of either alphabet. */
export function fromBase64(text) {
  const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}
