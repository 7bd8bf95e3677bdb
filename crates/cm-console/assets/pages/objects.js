// Buckets and objects: browse, put in, take out, versions.

import { change, changeObject, download, get, isAddressable, objectAddress, page } from '../api.js';
import { announce, h, icon } from '../dom.js';
import { bytes, moment, plural, to } from '../format.js';
import { attempt, badge, button, card, confirm, digest, empty, facts, field, form, head, header, later, paged, table, tabs, toast } from '../view.js';
import { history, remover } from './catalogue.js';

const PAGE = 50;
/** Keys read to group them by folders. */
const KEYS = 1000;

export async function buckets({ signal, reload }) {
  const first = await page(['buckets'], { query: { limit: PAGE }, signal });
  const columns = [
    { title: 'Name', cell: (each) => h('a', { class: 'wrap', href: to('buckets', each.id) }, each.name) },
    { title: 'Owner', cell: (each) => each.owner },
    { title: 'Description', cell: (each) => each.description ?? h('span', { class: 'muted' }, '–') },
    { title: 'Created', cell: (each) => moment(each.created_at) },
  ];
  const make = form([field('Name', h('input', { name: 'id', required: true, pattern: '[a-z0-9][a-z0-9.\\-]{1,61}[a-z0-9]', spellcheck: 'false', autocapitalize: 'off' }), { hint: '3 to 63 lower-case letters, digits, dots and hyphens.' })],
    { action: 'Create', class: 'inline', submit: async ({ id }) => { await change('POST', ['buckets'], { id }); toast(`Bucket ${id} created`); await reload(); } });
  return [head('Buckets', { lead: 'Objects are cut into chunks, and every byte is checked when it is read.' }),
    card('All buckets', {}, paged(first, (after) => page(['buckets'], { query: { limit: PAGE, after }, signal }), (rows) => table('Buckets', columns, rows, { none: empty('No buckets yet', 'Make the first one below.') }))),
    card('New bucket', {}, make)];
}

export async function bucket({ params: [id], query, signal, reload }) {
  const found = await get(['buckets', id], { signal });
  const prefix = query.get('prefix') ?? '';
  return [
    head(found.name, { trail: [['Buckets', to('buckets')]], lead: found.description, actions: [remover('buckets', 'bucket', found, { after: to('buckets') })] }),
    card('Objects', { actions: [uploader(id, prefix, reload)] }, places(id, prefix), later(page(['buckets', id, 'objects'], { query: { prefix, limit: KEYS }, signal }), (listing) => browse(id, prefix, listing), { again: reload })),
    card('More', {}, tabs('More of the bucket', [['Record', () => facts(header(found))], ['Versions', () => versions(id, prefix, signal)], ['Events', () => history(`bucket/${id}`, signal)]])),
  ];
}

const inside = (id, prefix) => `${to('buckets', id)}${prefix ? `?prefix=${encodeURIComponent(prefix)}` : ''}`;

function places(id, prefix) {
  const parts = prefix.split('/').filter(Boolean);
  return h('nav', { 'aria-label': 'Folders' }, h('ol', { class: 'crumbs path' }, h('li', {}, h('a', { href: inside(id, '') }, id)), parts.map((part, index) => h('li', {}, h('a', { href: inside(id, `${parts.slice(0, index + 1).join('/')}/`) }, part)))));
}

/** Keys with slashes shown as folders. */
function browse(id, prefix, { items, next }) {
  const folders = new Map();
  const here = [];
  for (const item of items) {
    const rest = item.key.slice(prefix.length);
    const slash = rest.indexOf('/');
    if (slash < 0) here.push(item);
    else {
      const name = rest.slice(0, slash + 1);
      const folder = folders.get(name) ?? { folder: name, count: 0, size: 0 };
      folder.count += 1;
      folder.size += item.size;
      folders.set(name, folder);
    }
  }
  const columns = [
    { title: 'Key', cell: (row) => (row.folder !== undefined ? h('a', { class: 'with-icon wrap', href: inside(id, prefix + row.folder) }, icon('folder'), row.folder)
      : h('a', { class: 'with-icon wrap', href: to('object', id, row.key) }, icon('file'), row.key.slice(prefix.length) || row.key)) },
    { title: 'Size', cell: (row) => (row.folder !== undefined ? `${bytes(row.size)} in ${plural(row.count, 'object')}` : bytes(row.size)) },
    { title: 'Type', cell: (row) => row.content_type ?? h('span', { class: 'muted' }, '–') },
    { title: 'Written', cell: (row) => (row.created_at ? moment(row.created_at) : h('span', { class: 'muted' }, '–')) },
    { title: '', cell: (row) => (row.folder !== undefined || !isAddressable(row.key) ? '' : download(objectAddress(id, row.key), row.key.split('/').at(-1) || row.key, 'Download')) },
  ];
  return [table('Objects', columns, [...folders.values(), ...here], { none: empty(prefix ? 'Nothing below this prefix' : 'The bucket is empty', 'Drop files here or choose them with the button above.') }),
    next !== null && h('p', { class: 'note' }, `There are more than ${KEYS} keys. Narrow them by a prefix.`)];
}

function uploader(id, prefix, reload) {
  const input = h('input', { type: 'file', multiple: true, class: 'hidden-visually', 'aria-label': 'Files to upload', on: { change: (event) => send([...event.currentTarget.files]) } });
  const control = h('label', { class: 'button primary', tabindex: '-1' }, icon('up'), h('span', {}, 'Upload'), input);
  async function send(files) {
    for (const file of files) {
      announce(`Uploading ${file.name}`);
      const written = await attempt(() => changeObject('PUT', objectAddress(id, prefix + file.name), file, { 'Content-Type': file.type || 'application/octet-stream' }), `${file.name} is stored, ${bytes(file.size)}`);
      if (written === undefined) return;
    }
    await reload();
  }
  requestAnimationFrame(() => {
    const zone = control.closest('.card');
    if (!zone) return;
    zone.addEventListener('dragover', (event) => { event.preventDefault(); zone.classList.add('drop'); });
    zone.addEventListener('dragleave', () => zone.classList.remove('drop'));
    zone.addEventListener('drop', (event) => { event.preventDefault(); zone.classList.remove('drop'); send([...event.dataTransfer.files]); });
  });
  return control;
}

const versionColumns = (id) => [
  { title: 'Key', cell: (row) => h('a', { class: 'wrap', href: to('object', id, row.key) }, row.key) },
  { title: 'Version', cell: (row) => h('span', {}, digest(row.version), row.is_latest && badge('latest', 'good'), row.is_delete_marker && badge('removed', 'warn')) },
  { title: 'Size', cell: (row) => (row.is_delete_marker ? '–' : bytes(row.size)) },
  { title: 'Written', cell: (row) => moment(row.created_at) },
  { title: '', cell: (row) => (row.is_delete_marker || !isAddressable(row.key) ? '' : download(objectAddress(id, row.key, row.version), row.key.split('/').at(-1) || row.key, 'Download')) },
];

function versions(id, prefix, signal, only) {
  const query = { prefix, limit: PAGE };
  return later(page(['buckets', id, 'versions'], { query, signal }), (first) => paged(first, (after) => page(['buckets', id, 'versions'], { query: { ...query, after }, signal }),
    (rows) => table('Versions', versionColumns(id), rows.filter((row) => only === undefined || row.key === only), { none: empty('No versions', null) })));
}

export async function object({ params: [id, key], signal }) {
  const listing = await page(['buckets', id, 'objects'], { query: { prefix: key, limit: 1 }, signal });
  const found = listing.items.find((item) => item.key === key);
  const folder = key.includes('/') ? key.slice(0, key.lastIndexOf('/') + 1) : '';
  const trail = [['Buckets', to('buckets')], [id, inside(id, '')], ...(folder ? [[folder, inside(id, folder)]] : [])];
  if (!found) return [head(key, { trail }), empty('There is no such object now', 'Its earlier versions may still be there.'), card('Versions', {}, versions(id, key, signal, key))];
  const name = key.split('/').at(-1) || key;
  const remove = button('Delete', { kind: 'danger', symbol: 'trash', on: { click: async () => {
    if (!await confirm(`Delete ${name}?`, 'In a bucket that keeps versions the earlier ones stay.')) return;
    if (await attempt(() => changeObject('DELETE', objectAddress(id, key)), `${name} is gone`)) location.hash = inside(id, folder);
  } } });
  return [
    isAddressable(key) ? head(name, { trail, actions: [download(objectAddress(id, key), name, icon('down'), 'Download'), remove] })
      : head(key, { trail, lead: 'No address can name this key, since it contains “.” or “..” between slashes. Use the command line or the S3 face.' }),
    h('div', { class: 'columns' },
      card('Object', {}, facts([['Key', h('code', { class: 'wrap' }, found.key)], ['Size', `${bytes(found.size)} (${found.size} bytes)`], ['Type', found.content_type], ['SHA-256', digest(found.sha256, { chars: 24 })], ['Entity tag', digest(found.etag, { chars: 24 })], ['Version', digest(found.version, { chars: 24 })], ['Written', moment(found.created_at, { exact: true })]])),
      card('Metadata', {}, Object.keys(found.metadata).length ? facts(Object.entries(found.metadata).map(([label, value]) => [label, h('span', { class: 'wrap' }, value)])) : empty('No metadata', 'Headers `x-object-meta-…` of an upload are kept here.'))),
    card('Versions', {}, versions(id, key, signal, key)),
    card('Events', {}, history(`object/${id}/${key}`, signal)),
  ];
}

