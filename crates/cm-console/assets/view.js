// What pages are made of.

import { announce, append, h, icon, replace, unique } from './dom.js';
import { moment, to } from './format.js';
import { Refused, Unreachable } from './api.js';

/** The head of a page: where one is, what it is, what can be done. */
export function head(title, { trail = [], lead, actions = [], badge } = {}) {
  const crumbs = trail.map(([text, href]) => h('li', {}, h('a', { href }, text)));
  return h('header', { class: 'page-head' },
    crumbs.length > 0 && h('nav', { 'aria-label': 'Breadcrumb' }, h('ol', { class: 'crumbs' }, crumbs)),
    h('div', { class: 'page-title' }, h('h1', { tabindex: '-1' }, title, badge), actions.length > 0 && h('div', { class: 'actions' }, actions)),
    lead && h('p', { class: 'lead' }, lead));
}

/** A box with a heading. */
export function card(title, { actions = [], class: extra = '', lead } = {}, ...children) {
  const id = unique('card');
  return h('section', { class: `card ${extra}`, 'aria-labelledby': id },
    h('div', { class: 'card-head' }, h('h2', { id }, title), actions.length > 0 && h('div', { class: 'actions' }, actions)),
    lead && h('p', { class: 'muted card-lead' }, lead), ...children);
}

/** Nothing there: what would be, and how it comes. */
export function empty(title, hint, ...more) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title), hint && h('p', { class: 'muted' }, hint), ...more);
}

/** What went wrong, and what can be done. */
export function failure(error, again) {
  const refused = error instanceof Refused;
  const title = refused && error.status === 403 ? 'Not permitted'
    : refused && error.status === 404 ? 'Not found'
    : error instanceof Unreachable ? 'No connection to the node' : 'This did not work';
  // Reasons of the decision belong to roles; other refusals say themselves what to do.
  const hint = refused && error.status === 403 && (error.details?.reasons ?? error.details?.permission) ? 'Your roles do not permit this. The decision explainer says what is missing.'
    : error instanceof Unreachable ? 'The node may be restarting.' : null;
  const reasons = [error.details?.reason, error.details?.reasons, error.details?.fields?.map((field) => `${field.path}: ${field.message}`)].flat(2);
  return h('div', { class: 'failure', role: 'alert' },
    h('p', { class: 'empty-title' }, title),
    h('p', {}, sentence(error.message)),
    reasons.filter(Boolean).length > 0 && h('ul', {}, reasons.filter(Boolean).map((reason) => h('li', {}, reason))),
    hint && h('p', { class: 'muted' }, hint),
    refused && error.requestId && h('p', { class: 'muted small' }, 'Request ', h('code', {}, error.requestId)),
    again && h('p', {}, button('Try again', { on: { click: again } })));
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

/** A part of a page that is there later. */
export function later(promise, show, { again } = {}) {
  const box = h('div', { class: 'later', 'aria-busy': 'true' }, h('div', { class: 'skeleton' }), h('div', { class: 'skeleton short' }));
  Promise.resolve(promise).then(show).then((content) => replace(box, content), (error) => {
    if (error.name !== 'AbortError') replace(box, failure(error, again));
  }).finally(() => box.removeAttribute('aria-busy'));
  return box;
}

/**
 * A table. `columns`: `{title, cell(row), class?}`; the first cell of a row is its heading. On narrow screens each row becomes a block whose cells say
 * their column.
 */
export function table(caption, columns, rows, { none } = {}) {
  if (rows.length === 0) return none ?? empty('Nothing here', null);
  return h('div', { class: 'table-wrap', role: 'region', 'aria-label': caption, tabindex: '0' },
    h('table', {}, h('caption', { class: 'hidden-visually' }, caption),
      h('thead', {}, h('tr', {}, columns.map((column) => h('th', { scope: 'col', class: column.class }, column.title)))),
      h('tbody', {}, rows.map((row) => tableRow(columns, row)))));
}

/** One row of a table, for those that grow. */
export function tableRow(columns, row) {
  return h('tr', {}, columns.map((column, index) => h(index === 0 ? 'th' : 'td',
    { ...(index === 0 ? { scope: 'row' } : {}), class: column.class, dataset: { label: column.title } }, h('div', { class: 'cell' }, column.cell(row)))));
}

/** Names and values. Values that are nothing are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

const TONES = {
  good: ['completed', 'running', 'ready', 'allowed', 'active', 'up', 'deployed', 'trusted', 'anchor', 'enabled', 'stored', 'verified', 'serving'],
  busy: ['initiated', 'deploying', 'starting', 'connecting', 'pending', 'probation', 'creating', 'draining'],
  bad: ['failed', 'denied', 'refused', 'banned', 'distrusted', 'down', 'disabled', 'invalid', 'critical', 'error'],
  high: ['high'], warn: ['medium', 'moderate', 'warning'], low: ['low'], info: ['info', 'informational', 'neutral'],
};

/** The tone of a state. */
export const tone = (state) => Object.keys(TONES).find((name) => TONES[name].includes(String(state).toLowerCase())) ?? 'plain';

/** A state as a word in a colour. */
export const badge = (state, as = tone(state)) => h('span', { class: `badge ${as}` }, state ?? 'unknown');

/** A word among others, such as a role. */
export const chip = (text) => h('span', { class: 'chip' }, text);

/** Several. */
export const chips = (texts) => (texts?.length ? h('span', { class: 'chips' }, texts.map(chip)) : h('span', { class: 'muted' }, 'none'));

/** A button. */
export function button(text, { on, kind = '', type = 'button', symbol, ...more } = {}) {
  return h('button', { class: `button ${kind}`, type, on, ...more }, symbol && icon(symbol), h('span', {}, text));
}

/** Something long that is compared rather than read: a part of it, all of it for those who point at it, and a way to take it along. */
export function digest(text, { chars = 12 } = {}) {
  if (!text) return h('span', { class: 'muted' }, '–');
  const shown = text.length > chars + 4 ? `${text.slice(0, chars)}…` : text;
  return h('span', { class: 'digest' }, h('code', { title: text }, shown), copier(text));
}

/** A button that copies. */
export function copier(text, what = 'Copy') {
  return h('button', { class: 'icon-button', type: 'button', title: what, 'aria-label': `${what}: ${text.slice(0, 24)}`, on: {
    click: async () => {
      try {
        await navigator.clipboard.writeText(text);
        toast('Copied');
      } catch {
        toast('The browser does not let this page copy', 'bad');
      }
    } } }, icon('copy'));
}

/** Text that is shown to the letter. */
export function source(text, { label = 'Text' } = {}) {
  return h('div', { class: 'source' }, h('pre', { tabindex: '0', role: 'region', 'aria-label': label }, h('code', {}, text)), copier(text, `Copy ${label.toLowerCase()}`));
}

/** Data as JSON. */
export const json = (value, options) => source(JSON.stringify(value, null, 2), { label: 'JSON', ...options });

/** A short message that goes away. */
export function toast(text, kind = 'good') {
  const note = h('div', { class: `toast ${kind}` }, text);
  document.getElementById('toasts').append(note);
  announce(text);
  setTimeout(() => note.remove(), 6000);
}

/** A field with its label. */
export function field(label, control, { hint } = {}) {
  const id = unique('field');
  control.id = id;
  if (hint) control.setAttribute('aria-describedby', `${id}-hint`);
  return h('div', { class: 'field' }, h('label', { for: id }, label), control, hint && h('p', { class: 'hint', id: `${id}-hint` }, hint));
}

/** A choice. */
export function select(name, options, chosen) {
  return h('select', { name, value: undefined }, options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h('option', { value, selected: value === chosen }, text);
  }));
}

/** A form: what was entered goes to `submit`; what that refuses is shown in it. */
export function form(fields, { submit, action, kind = 'primary', class: extra = '', more = [] }) {
  const outcome = h('div', { class: 'outcome', 'aria-live': 'polite' });
  const send = button(action, { type: 'submit', kind });
  return h('form', { class: `form ${extra}`, on: {
    submit: async (event) => {
      event.preventDefault();
      const values = Object.fromEntries(new FormData(event.currentTarget));
      send.disabled = true;
      replace(outcome);
      try {
        append(outcome, [await submit(values)]);
      } catch (error) {
        if (error.name !== 'AbortError') append(outcome, [failure(error)]);
      } finally {
        send.disabled = false;
      }
    } } }, fields, h('div', { class: 'form-actions' }, send, more), outcome);
}

/** Asks before something is done that cannot be undone. */
export function confirm(title, text, { action = 'Delete' } = {}) {
  return new Promise((resolve) => {
    const id = unique('dialog');
    const dialog = h('dialog', { class: 'dialog', 'aria-labelledby': id },
      h('form', { method: 'dialog' }, h('h2', { id }, title), h('p', {}, text),
        h('div', { class: 'form-actions' }, h('button', { class: 'button danger', value: 'yes' }, action), h('button', { class: 'button', value: 'no', autofocus: true }, 'Cancel'))));
    dialog.addEventListener('close', () => { resolve(dialog.returnValue === 'yes'); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Does something that may be refused, and says what came of it. */
export async function attempt(work, done) {
  try {
    const result = await work();
    toast(done);
    return result ?? true;
  } catch (error) {
    toast(sentence(error.message), 'bad');
    return undefined;
  }
}

/** A list that is read page by page. */
export function paged(first, load, show) {
  const rows = [...first.items];
  const box = h('div', {});
  let next = first.next;
  const draw = () => replace(box, show(rows), next !== null && h('div', { class: 'more' }, button('Show more', { on: { click: async (event) => {
    event.currentTarget.disabled = true;
    try {
      const page = await load(next);
      rows.push(...page.items);
      next = page.next;
      announce(`${page.items.length} more`);
      draw();
    } catch (error) {
      append(box, [failure(error)]);
    }
  } } })));
  draw();
  return box;
}

/** Views of one thing, one at a time. Arrow keys move between them. */
export function tabs(label, views) {
  const panel = h('div', { role: 'tabpanel', tabindex: '0', class: 'tab-panel' });
  const buttons = views.map(([title], index) => h('button', { type: 'button', role: 'tab', id: unique('tab'), on: {
    click: () => choose(index),
    keydown: (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose((index + step + views.length) % views.length, true);
    } } }, title));
  const choose = (chosen, focus) => {
    buttons.forEach((tab, index) => {
      tab.setAttribute('aria-selected', String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
    });
    panel.setAttribute('aria-labelledby', buttons[chosen].id);
    replace(panel, views[chosen][1]());
    if (focus) buttons[chosen].focus();
  };
  choose(0);
  return h('div', { class: 'tabs' }, h('div', { role: 'tablist', 'aria-label': label }, buttons), panel);
}

/** A link to what an event or a reference names, `KIND/ID`. */
export function reference(text) {
  if (!text) return h('span', { class: 'muted' }, '–');
  const [kind, ...rest] = text.split('/');
  const id = rest.join('/');
  const route = {
    function: () => to('functions', id), instance: () => to('instances', id), bucket: () => to('buckets', id), principal: () => to('principals', id),
    object: () => to('object', rest[0], rest.slice(1).join('/')), role: () => to('catalogue', 'roles', id), service: () => to('catalogue', 'services', id),
    microservice: () => to('catalogue', 'microservices', id), endpoint: () => to('catalogue', 'endpoints', id), storage: () => to('catalogue', 'storages', id),
    'active-object': () => to('catalogue', 'active-objects', id), 'security-policy': () => to('catalogue', 'security-policies', id),
  }[kind];
  return route && id && id !== '*' ? h('a', { href: route(), class: 'wrap' }, text) : h('span', { class: 'wrap' }, text);
}

/** The fields that every record has. */
export function header(record) {
  const labels = Object.entries(record.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return [['Id', h('code', { class: 'wrap' }, record.id)], ['Owner', h('a', { href: to('principals', record.owner) }, record.owner)], ['Tenant', record.tenant], ['Labels', labels.length ? chips(labels) : null],
    ['Version', record.generation], ['Created', moment(record.created_at)], ['Changed', moment(record.updated_at)]];
}
