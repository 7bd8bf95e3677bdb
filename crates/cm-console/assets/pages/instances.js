// Confidential instances: what they are, and whether they can prove it. Evidence is judged here, in the browser.

import { change, get, page, text as readText } from '../api.js';
import { h, icon } from '../dom.js';
import { fromBase64, hex, moment, to } from '../format.js';
import { attempt, badge, button, card, confirm, digest, empty, facts, failure, head, header, json, later, paged, reference, source, table, tabs } from '../view.js';
import { history } from './catalogue.js';

const PAGE = 50;
/** Random bytes of a nonce. */
const NONCE_BYTES = 32;
/** Evidence that is older was not made for our question, in seconds. */
const EVIDENCE_AGE_MAX = 300;

export async function instances({ signal }) {
  const query = { limit: PAGE, order: 'newest-first' };
  const first = await page(['instances'], { query, signal });
  const columns = [
    { title: 'Instance', cell: (each) => h('a', { class: 'wrap', href: to('instances', each.id) }, each.name) },
    { title: 'Function', cell: (each) => (each.function ? reference(`function/${each.function}`) : h('span', { class: 'muted' }, 'its own programs')) },
    { title: 'State', cell: (each) => badge(each.status?.state ?? each.status?.phase ?? (each.status?.address ? 'running' : 'unknown')) },
    { title: 'Evidence', cell: (each) => badge(each.status?.evidence ?? 'none', each.status?.evidence === 'insecure-software' ? 'warn' : 'plain') },
    { title: 'Address', cell: (each) => (each.status?.address ? h('code', {}, each.status.address) : '–') },
    { title: 'Started', cell: (each) => moment(each.created_at) },
  ];
  return [head('Instances', { lead: 'Sealed copies of functions that run now. Whoever sends them data first has them prove what they are.' }),
    card('Running', {}, paged(first, (after) => page(['instances'], { query: { ...query, after }, signal }), (rows) => table('Instances', columns, rows,
      { none: empty('No instance runs', 'Start one with `cryptomesh instance create USER-POLICY.json`. Instances of past runs are in their functions’ history.') })))];
}

export async function oneInstance({ params: [id], signal }) {
  const found = await get(['instances', id], { signal });
  const status = found.status ?? {};
  const end = button('End', { kind: 'danger', symbol: 'trash', on: { click: async () => {
    if (!await confirm(`End ${found.name}?`, 'It stops at once, and what it holds in memory is gone.', { action: 'End' })) return;
    if (await attempt(() => change('DELETE', ['instances', id]), `${found.name} has ended`)) location.hash = to('instances');
  } } });
  return [
    head(found.name, { trail: [['Instances', to('instances')]], actions: [end] }),
    h('div', { class: 'columns' },
      card('What it is', {}, facts([['Function', found.function && reference(`function/${found.function}`)], ['State', badge(status.state ?? status.phase ?? 'running')], ['Address', status.address && h('code', {}, status.address)],
        ['Evidence', status.evidence && badge(status.evidence, status.evidence === 'insecure-software' ? 'warn' : 'good')], ['Measurement', status.measurement && digest(status.measurement)],
        ['Policy', status.policy_hash && digest(status.policy_hash)], ['Ends after', found.lifetime_seconds && `${found.lifetime_seconds} s`]])),
      card('Record', {}, facts(header(found)))),
    attestation(found),
    card('Isolation', { lead: 'Layers around the process, and what the host lacks.' }, layers(status.isolation ?? [])),
    card('More', {}, tabs('More of the instance', [
      ['Policy', () => later(readText(['instances', id, 'policy'], { signal }), (text) => source(text, { label: 'Policy' }))],
      ['Events', () => history(`instance/${id}`, signal)],
      ['JSON', () => json(found)],
    ])),
  ];
}

function layers(all) {
  if (all.length === 0) return empty('Nothing is said of its isolation', null);
  return h('ul', { class: 'layers' }, all.map((layer) => h('li', { class: layer.active ? 'on' : 'off' }, icon(layer.active ? 'check' : 'cross'), h('span', {}, layer.name, h('span', { class: 'hidden-visually' }, layer.active ? ': stands' : ': missing')), layer.reason && h('span', { class: 'muted small' }, layer.reason))));
}

function attestation(found) {
  const box = h('div', { 'aria-live': 'polite' });
  const ask = button('Verify now', { kind: 'primary', symbol: 'instances', on: { click: async () => {
    ask.disabled = true;
    box.replaceChildren(h('p', { class: 'muted' }, 'Asking with a fresh nonce …'));
    try {
      box.replaceChildren(...verdict(await examine(found)));
    } catch (error) {
      box.replaceChildren(failure(error));
    } finally {
      ask.disabled = false;
    }
  } } });
  return card('Attestation', { actions: [ask], lead: 'A nonce is made here, the node signs what the instance is, and this page checks every binding.' }, box);
}

/** Has evidence made for a nonce of ours, and checks what can be checked here. */
async function examine(found) {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const [{ evidence }, policy, node] = await Promise.all([
    change('POST', ['instances', found.id, 'evidence'], { nonce: hex(nonce) }), readText(['instances', found.id, 'policy']), get(['node'])]);
  const [head64, body64, signature64] = evidence.split('.');
  const claims = JSON.parse(new TextDecoder().decode(fromBase64(body64)));
  const protectedHead = JSON.parse(new TextDecoder().decode(fromBase64(head64)));
  const checks = [];
  const check = (what, holds, said) => checks.push({ what, holds, said });
  const signed = await signature(node.verifying_key, protectedHead, `${head64}.${body64}`, fromBase64(signature64));
  check('Signed by the key that this node names', signed.holds, signed.said);
  check('Made for our nonce', hex(fromBase64(claims.eat_nonce)) === hex(nonce));
  const age = Math.abs(Date.now() / 1000 - claims.iat);
  check('Fresh', age <= EVIDENCE_AGE_MAX, `${Math.round(age)} s old`);
  const subtle = crypto.subtle;
  const hash = subtle ? hex(await subtle.digest('SHA-256', new TextEncoder().encode(policy))) : null;
  check('Runs under the policy shown here', hash === null ? null : hash === claims.cm_policy_hash, hash === null ? 'hashing needs HTTPS or localhost' : undefined);
  check('Runs the executable that the node measured', claims.cm_measurement === node.measurement);
  check('Protected by hardware', claims.cm_kind !== 'insecure-software', claims.cm_kind);
  return { claims, checks, evidence };
}

async function signature(pem, protectedHead, text, bytes) {
  if (!crypto.subtle) return { holds: null, said: 'checking needs HTTPS or localhost' };
  if (protectedHead.alg !== 'EdDSA') return { holds: false, said: `unknown algorithm ${protectedHead.alg}` };
  try {
    const key = await crypto.subtle.importKey('spki', fromBase64(pem.replace(/-----[^-]+-----|\s/g, '')), { name: 'Ed25519' }, false, ['verify']);
    return { holds: await crypto.subtle.verify({ name: 'Ed25519' }, key, bytes, new TextEncoder().encode(text)) };
  } catch (error) {
    return { holds: null, said: `this browser cannot check it: ${error.message}` };
  }
}

function verdict({ claims, checks, evidence }) {
  const sign = (holds) => (holds === null ? ['warn', 'not checked'] : holds ? ['good', 'holds'] : ['bad', 'does not hold']);
  return [
    h('ul', { class: 'checks' }, checks.map(({ what, holds, said }) => {
      const [kind, word] = sign(holds);
      return h('li', { class: kind }, icon(holds ? 'check' : 'cross'), h('span', {}, what, said && h('span', { class: 'muted' }, ` (${said})`)), badge(word, kind));
    })),
    claims.cm_kind === 'insecure-software' && h('p', { class: 'note warn' }, 'Software-only evidence: the node vouches for itself. It proves nothing against the operator of the machine.'),
    h('p', { class: 'muted small' }, 'The key comes from the node too. Compare it with one that you have from elsewhere; `cryptomesh instance verify` takes it as an argument.'),
    h('details', {}, h('summary', {}, 'Claims'), json(claims)), h('details', {}, h('summary', {}, 'Evidence'), source(evidence, { label: 'Evidence' }))];
}
