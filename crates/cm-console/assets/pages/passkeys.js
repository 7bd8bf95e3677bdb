// One's own passkeys.

import { h } from '../dom.js';
import { moment } from '../format.js';
import { attempt, button, card, confirm, empty, field, form, head, table } from '../view.js';
import { addPasskey, passkeys, removePasskey, renamePasskey } from '../passkeys.js';

const LEAD = 'A key that your device keeps for you: it logs in without a password, and counts as a second factor.';
const LABEL_MAX = 64;

const labelled = (value) => h('input', { name: 'label', required: true, maxlength: LABEL_MAX, autocomplete: 'off', value });

/** Asks for a name; nothing if nobody gives one. */
function askName(passkey) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'dialog', 'aria-label': `Rename ${passkey.label}` });
    const input = labelled(passkey.label);
    const done = (label) => { resolve(label); dialog.close(); };
    dialog.append(h('form', { method: 'dialog', on: { submit: (event) => { event.preventDefault(); done(input.value.trim()); } } },
      h('h2', {}, 'Rename'), field('Name', input),
      h('div', { class: 'form-actions' }, button('Rename', { type: 'submit', kind: 'primary' }), button('Cancel', { on: { click: () => done(null) } }))));
    dialog.addEventListener('close', () => { resolve(null); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
    input.select();
  });
}

export async function passkeyPage({ signal, reload }) {
  const rename = async (passkey) => {
    const label = await askName(passkey);
    if (label && label !== passkey.label && await attempt(() => renamePasskey(passkey.id, label), 'Renamed')) await reload();
  };
  const remove = async (passkey) => {
    const sure = await confirm(`Remove ${passkey.label}?`, 'It logs in no more, and the sessions that it began end. The device goes on offering it until you delete it there.', { action: 'Remove' });
    if (sure && await attempt(() => removePasskey(passkey.id).then(() => true), 'Removed')) await reload();
  };
  const rows = (found) => table('Passkeys', [
    { title: 'Name', cell: (each) => h('span', { class: 'wrap' }, each.label, each.closed && h('span', { class: 'muted' }, ' logs in no more: the password was changed without a factor')) },
    { title: 'Registered', cell: (each) => moment(each.created_at) },
    { title: 'Last used', cell: (each) => (each.last_used_at ? moment(each.last_used_at) : h('span', { class: 'muted' }, 'never')) },
    { title: 'Change', cell: (each) => h('span', { class: 'actions' }, button('Rename', { kind: 'small', 'aria-label': `Rename ${each.label}`, on: { click: () => rename(each) } }), button('Remove', { kind: 'small danger', 'aria-label': `Remove ${each.label}`, on: { click: () => remove(each) } })) },
  ], found.passkeys, { none: empty('No passkeys', null) });
  const add = (found) => (found.passkeys.length >= found.max ? h('p', { class: 'muted' }, `There are ${found.max}, the most that may be.`)
    : form([field('Name', labelled(''), { hint: 'By which you know the device: “laptop”, “blue key”. Within ten minutes of logging in; log in again after that.' })], { action: 'Add a passkey', submit: async ({ label }) => {
      await addPasskey(label.trim());
      await reload();
    } }));
  const found = await passkeys(signal);
  return [head('Your passkeys', { lead: LEAD }), card('Devices', {}, rows(found)),
    card('Add one', {}, found.canAdd ? add(found)
      : h('p', { class: 'muted' }, 'None can be added here: this browser has no passkeys, or the node knows this page under another address (the setting ', h('code', {}, 'identity.passkeys.origins'), ').'))];
}
