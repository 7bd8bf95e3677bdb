// Services with what belongs to them, and any record with everything around it.

import { change, get, page } from '../api.js';
import { h } from '../dom.js';
import { moment, plural, to } from '../format.js';
import { attempt, badge, button, card, chips, confirm, empty, facts, head, header, json, later, paged, reference, source, table, tabs } from '../view.js';

/** Kinds beside the tree. */
const KINDS = [['endpoints', 'Endpoints'], ['storages', 'Storages'], ['active-objects', 'Active objects'], ['security-policies', 'Security policies']];
const SINGULAR = { services: 'service', microservices: 'microservice', functions: 'function', endpoints: 'endpoint', storages: 'storage', 'active-objects': 'active-object', roles: 'role', 'security-policies': 'security-policy', buckets: 'bucket' };
/** What every record has and `header` shows. */
const COMMON = ['id', 'name', 'tenant', 'owner', 'labels', 'generation', 'created_at', 'updated_at', 'status'];
/** The id again, as earlier clients call it. */
const AGAIN = ['service_id', 'microservice_id', 'function_id', 'endpoint_id', 'storage_id', 'active_object_id', 'sp_id', 'role_id'];
const PAGE = 50;

export async function catalogue({ signal, reload }) {
  return [
    head('Catalogue', { lead: 'Services contain microservices, these contain functions, and functions run on endpoints.' }),
    h('div', { class: 'columns wide-left' },
      card('Services', {}, later(page(['hierarchy'], { signal }), ({ items }) => tree(items), { again: reload })),
      card('Beside them', {}, tabs('Kinds', KINDS.map(([kind, title]) => [title, () => later(page([kind], { query: { limit: PAGE }, signal }), (first) => short(kind, title, first, signal))])))),
  ];
}

function tree(services) {
  if (services.length === 0) return empty('No services yet', 'Declare them in a file and run `cryptomesh apply -f FILE`.');
  const leaf = (kind, id, name, note) => h('li', {}, h('a', { class: 'leaf', href: kind === 'functions' ? to('functions', id) : to('catalogue', kind, id) }, h('span', { class: `kind ${kind}` }, SINGULAR[kind]), h('span', { class: 'wrap' }, name), note && h('span', { class: 'muted small' }, note)));
  const branch = (kind, id, name, note, children, open) => h('li', {}, h('details', { open },
    h('summary', {}, h('span', { class: `kind ${kind}` }, SINGULAR[kind]), h('a', { class: 'wrap', href: to('catalogue', kind, id) }, name), h('span', { class: 'muted small' }, note)),
    children.length > 0 ? h('ul', {}, children) : h('p', { class: 'muted small nothing' }, 'Nothing in it')));
  return h('ul', { class: 'tree' }, services.map((service) => branch('services', service.service_id, service.service_name, plural(service.microservices.length, 'microservice'),
    service.microservices.map((micro) => branch('microservices', micro.microservice_id, micro.microservice_name, plural(micro.functions.length, 'function'),
      [...micro.active_objects.map((object) => branch('active-objects', object.active_object_id, object.alias ?? object.object_name, plural(object.functions.length, 'method'), object.functions.map((method) => leaf('functions', method.function_id, method.name)))),
        ...micro.functions.map((each) => leaf('functions', each.function_id, each.name))], true)), true)));
}

function short(kind, title, first, signal) {
  const columns = [{ title: 'Name', cell: (record) => h('a', { class: 'wrap', href: to('catalogue', kind, record.id) }, record.name) },
    { title: kind === 'endpoints' ? 'State' : 'Owner', cell: (record) => (kind === 'endpoints' ? badge(record.state) : record.owner) }];
  return paged(first, (after) => page([kind], { query: { limit: PAGE, after }, signal }), (rows) => table(title, columns, rows, { none: empty(`No ${title.toLowerCase()} yet`, null) }));
}

/** Any record: what it says, what happened to it, what refers to it. */
export async function record({ params: [kind, id], signal }) {
  if (!Object.hasOwn(SINGULAR, kind)) return [head('No such kind', { trail: [['Catalogue', to('catalogue')]] }), empty(`There are no “${kind}”`, null)];
  const found = await get([kind, id], { signal });
  const spec = Object.entries(found).filter(([name]) => !COMMON.includes(name) && !(AGAIN.includes(name) && found[name] === found.id));
  return [
    head(found.name, { trail: [['Catalogue', to('catalogue')]], badge: h('span', { class: `kind ${kind}` }, SINGULAR[kind]), lead: found.description, actions: [remover(kind, SINGULAR[kind], found)] }),
    h('div', { class: 'columns' },
      card('What it is', {}, facts(spec.filter(([name]) => name !== 'description').map(([name, value]) => [title(name), shown(kind, name, value)]))),
      card('Record', {}, facts(header(found)))),
    card('Around it', {}, tabs('Around it', [
      ['Referrers', () => later(get([kind, id, 'referrers'], { signal }), referrers)],
      ['Events', () => history(`${SINGULAR[kind]}/${id}`, signal)],
      ['JSON', () => json(found)],
    ])),
  ];
}

const title = (name) => `${name.charAt(0).toUpperCase()}${name.slice(1)}`.replaceAll('_', ' ').replace(/ id$/, '');

const REFERS = { endpoint_id: 'endpoint', microservice_id: 'microservice', service_id: 'service', policy_id: 'security-policy', storage_id: 'storage', axo_microservice_id: 'microservice', axo_endpoint_id: 'endpoint', axo_bucket_id: 'bucket', axo_source_bucket_id: 'bucket', axo_sink_bucket_id: 'bucket', active_object_id: 'active-object' };

function shown(kind, name, value) {
  if (value === null || value === undefined || value === '') return null;
  if (Object.hasOwn(REFERS, name)) return reference(`${REFERS[name]}/${value}`);
  if (name === 'security_policy' && typeof value === 'string') return reference(`security-policy/${value}`);
  if (name === 'storage' && typeof value === 'string') return reference(`storage/${value}`);
  if (name === 'state') return badge(value);
  if (name === 'axo_code') return source(value, { label: 'Code' });
  if (name === 'roles') return h('span', { class: 'chips' }, value.map((role) => h('a', { class: 'chip', href: to('catalogue', 'roles', role) }, role)));
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return chips(value);
  if (typeof value === 'object') return json(value);
  return h('span', { class: 'wrap' }, typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value));
}

function referrers(found) {
  const list = Array.isArray(found) ? found : Object.entries(found).flatMap(([, refs]) => refs);
  const texts = list.map((each) => (typeof each === 'string' ? each : each.resource ?? `${each.kind}/${each.id}`));
  if (texts.length === 0) return empty('Nothing refers to it', 'It can be deleted without touching anything else.');
  return h('ul', { class: 'plain' }, texts.map((text) => h('li', {}, reference(text))));
}

/** A button that deletes a record after asking; says what would go with it. */
export function remover(kind, singular, found, { after = to('catalogue'), action = 'Delete' } = {}) {
  return button(action, { kind: 'danger', symbol: 'trash', on: { click: async () => {
    if (!await confirm(`${action} ${found.name}?`, `This ${singular} goes for good. The log keeps that it was there.`, { action })) return;
    if (await attempt(() => change('DELETE', [kind, found.id]), `${found.name} is gone`)) location.hash = after;
  } } });
}

/** What happened to something, newest first. */
export function history(resource, signal) {
  const query = { resource, order: 'newest-first', limit: 20 };
  const columns = [
    { title: 'Event', cell: (event) => h('span', {}, h('strong', {}, event.verb), ' ', event.outcome !== 'allowed' && badge(event.outcome)) },
    { title: 'Who', cell: (event) => event.actor ?? h('span', { class: 'muted' }, 'unknown') },
    { title: 'When', cell: (event) => moment(event.at) },
  ];
  return later(page(['events'], { query, signal }), (first) => paged(first, (after) => page(['events'], { query: { ...query, after }, signal }),
    (rows) => table('Events', columns, rows, { none: empty('No events', 'Nothing of it is in the log.') })));
}

