// Passkeys: what the node asks, in the words of the browser, and what the browser answers, in those of the node (WebAuthn, level 3).

import { change, get, logIn } from './api.js';

/** Whether this browser has passkeys, on this page. */
const IS_KNOWN = typeof PublicKeyCredential === 'function' && navigator.credentials !== undefined;

/** Browsers of lately translate by themselves; not all people have one. */
function bytes(text) {
  const plain = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(plain, (each) => each.charCodeAt(0));
}

function text(buffer) {
  const plain = Array.from(new Uint8Array(buffer), (each) => String.fromCharCode(each)).join('');
  return btoa(plain).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

const described = (each) => ({ ...each, id: bytes(each.id) });

function toCreate(options) {
  return { ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) }, excludeCredentials: (options.excludeCredentials ?? []).map(described) };
}

const toGet = (options) => ({ ...options, challenge: bytes(options.challenge), allowCredentials: (options.allowCredentials ?? []).map(described) });

const credential = (made, response) => ({ id: made.id, rawId: text(made.rawId), type: made.type, response, clientExtensionResults: made.getClientExtensionResults() });

/** Whether a question of the node may be answered from this page: it names the origins to which passkeys are given. */
const isForHere = (challenge) => challenge.origins.includes(location.origin);

/** What browsers refuse, in words for people. */
function readable(error) {
  if (error.name === 'InvalidStateError') return new Error('this device has a passkey of this account already');
  if (error.name === 'NotAllowedError') return new Error('nothing was confirmed on the device, or too late');
  if (error.name === 'ConstraintError' || error.name === 'NotSupportedError') return new Error('this device cannot keep passkeys, or cannot make sure who uses it');
  return error;
}

/** A question for a login, if this browser, this page and the node have passkeys; otherwise nothing. */
export async function loginChallenge() {
  if (!IS_KNOWN) return null;
  try {
    const challenge = await change('POST', ['auth', 'login', 'passkey']);
    return isForHere(challenge) ? challenge : null;
  } catch {
    // A node without passkeys, or none that answers: the page has other ways in, and they will say what is wrong.
    return null;
  }
}

/** Logs in with what the device answers. Each question is answered once, so that it is asked anew here. */
export async function logInWithPasskey() {
  const { state, options } = await change('POST', ['auth', 'login', 'passkey']);
  let made;
  try {
    made = await navigator.credentials.get({ publicKey: toGet(options) });
  } catch (error) {
    throw readable(error);
  }
  const { authenticatorData, clientDataJSON, signature, userHandle } = made.response;
  const response = { authenticatorData: text(authenticatorData), clientDataJSON: text(clientDataJSON), signature: text(signature), ...(userHandle ? { userHandle: text(userHandle) } : {}) };
  return logIn({ state, credential: credential(made, response) });
}

/** One's own passkeys, and whether this page can add one. */
export async function passkeys(signal) {
  const found = await get(['auth', 'passkeys'], { signal });
  return { ...found, canAdd: (await loginChallenge()) !== null };
}

/** Has the device make a passkey, and registers it. */
export async function addPasskey(label) {
  const { state, options } = await change('POST', ['auth', 'passkeys']);
  let made;
  try {
    made = await navigator.credentials.create({ publicKey: toCreate(options) });
  } catch (error) {
    throw readable(error);
  }
  const response = { attestationObject: text(made.response.attestationObject), clientDataJSON: text(made.response.clientDataJSON) };
  return change('POST', ['auth', 'passkeys', 'finish'], { state, label, credential: credential(made, response) });
}

export const renamePasskey = (id, label) => change('PATCH', ['auth', 'passkeys', id], { label });

export const removePasskey = (id) => change('DELETE', ['auth', 'passkeys', id]);
