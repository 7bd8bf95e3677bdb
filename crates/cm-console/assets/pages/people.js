// Who may do what: principals, roles, security policies.

import { change, get, page } from '../api.js';
import { h } from '../dom.js';
import { moment, to } from '../format.js';
import { attempt, badge, button, card, chips, empty, facts, head, later, paged, table, tabs } from '../view.js';

const PAGE = 50;

const roles = (ids) => (ids.length ? h('span', { class: 'chips' }, ids.map((id) => h('a', { class: 'chip', href: to('catalogue', 'roles', id) }, id))) : h('span', { class: 'muted' }, 'none'));

export async function people({ signal }) {
  const list = (kind, title, columns, none) => () => later(page([kind], { query: { limit: PAGE }, signal }),
    (first) => paged(first, (after) => page([kind], { query: { limit: PAGE, after }, signal }), (rows) => table(title, columns, rows, { none: empty(none, null) })));
  return [head('Access', { lead: 'Nobody may do anything that no role of theirs permits.' }),
    card('Who may do what', {}, tabs('Access', [
      ['Principals', list('principals', 'Principals', [
        { title: 'Name', cell: (each) => h('a', { class: 'wrap', href: to('principals', each.id) }, each.id) },
        { title: 'Shown as', cell: (each) => h('span', { class: 'wrap' }, each.display_name) },
        { title: 'Roles', cell: (each) => roles(each.roles) },
        { title: 'State', cell: (each) => badge(each.disabled ? 'disabled' : 'enabled') },
        { title: 'Created', cell: (each) => moment(each.created_at) },
      ], 'No principals')],
      ['Roles', list('roles', 'Roles', [
        { title: 'Role', cell: (each) => h('a', { class: 'wrap', href: to('catalogue', 'roles', each.id) }, each.name) },
        { title: 'Description', cell: (each) => each.description ?? h('span', { class: 'muted' }, '–') },
        { title: 'Permissions', cell: (each) => chips(each.permissions) },
      ], 'No roles')],
      ['Security policies', list('security-policies', 'Security policies', [
        { title: 'Policy', cell: (each) => h('a', { class: 'wrap', href: to('catalogue', 'security-policies', each.id) }, each.name) },
        { title: 'Roles', cell: (each) => roles(each.roles) },
        { title: 'Authentication', cell: (each) => (each.requires_authentication ? 'required' : 'not required') },
      ], 'No security policies')],
    ]))];
}

export async function principal({ params: [id], signal, me, reload }) {
  const found = await get(['principals', id], { signal });
  const toggle = button(found.disabled ? 'Enable' : 'Disable', { kind: found.disabled ? '' : 'danger', on: { click: async () => {
    if (await attempt(() => change('PATCH', ['principals', id], { disabled: !found.disabled }), found.disabled ? `${id} is enabled` : `${id} is disabled`)) await reload();
  } } });
  return [head(found.id, { trail: [['Access', to('access')]], badge: badge(found.disabled ? 'disabled' : 'enabled'), actions: [id !== me.principal && toggle].filter(Boolean) }),
    h('div', { class: 'columns' },
      card('Who', {}, facts([['Shown as', h('span', { class: 'wrap' }, found.display_name)], ['Tenant', found.tenant], ['Roles', roles(found.roles)], ['Password', found.has_password ? 'set' : 'none'], ['Created', moment(found.created_at)]])),
      card('API keys', { lead: 'Made and revoked with `cryptomesh principal api-key`.' }, later(get(['principals', id, 'api-keys'], { signal }), (keys) => table('API keys', [
        { title: 'Label', cell: (key) => h('span', { class: 'wrap' }, key.label) }, { title: 'Kind', cell: (key) => h('span', { class: 'chip' }, key.kind) }, { title: 'Made', cell: (key) => moment(key.created_at) }], keys, { none: empty('No keys', null) })))),
    id === me.principal && card('What your roles permit', {}, chips(me.permissions))];
}
