// Counts the lines, words and bytes of standard input and writes the three numbers to standard output, as `wc` does.
//
// Standard input and output are files of the instance: `stdin` and `stdout`, or what the policy says they are.
// Rights: PATH_OPEN and FD_READ on the one; PATH_OPEN, PATH_CREATE_FILE and FD_WRITE on the other.
import {
  errno,
  fd_read,
  fd_write,
  proc_exit,
} from "@assemblyscript/wasi-shim/assembly/bindings/wasi_snapshot_preview1";

const BUFFER_LEN = 65536;
const STDIN: u32 = 0;
const STDOUT: u32 = 1;

/** White space as C's `isspace` has it. */
function isSpace(byte: u8): bool {
  return byte == 32 || (byte >= 9 && byte <= 13);
}

const buffer = new ArrayBuffer(BUFFER_LEN);
const vector = memory.data(2 * sizeof<usize>());
const done = memory.data(sizeof<u32>());

function describe(at: usize, len: usize): void {
  store<usize>(vector, at);
  store<usize>(vector, len, sizeof<usize>());
}

let lines: u64 = 0;
let words: u64 = 0;
let bytes: u64 = 0;
let inWord = false;
while (true) {
  describe(changetype<usize>(buffer), BUFFER_LEN);
  if (fd_read(STDIN, vector, 1, done) != errno.SUCCESS) proc_exit(1);
  const count = load<u32>(done);
  if (count == 0) break;
  bytes += count;
  for (let i: u32 = 0; i < count; i++) {
    const byte = load<u8>(changetype<usize>(buffer) + i);
    if (byte == 10) lines++;
    const space = isSpace(byte);
    if (!space && !inWord) words++;
    inWord = !space;
  }
}

const text = String.UTF8.encode(`${lines} ${words} ${bytes}\n`);
let written: usize = 0;
while (written < <usize>text.byteLength) {
  describe(changetype<usize>(text) + written, <usize>text.byteLength - written);
  if (fd_write(STDOUT, vector, 1, done) != errno.SUCCESS) proc_exit(2);
  written += load<u32>(done);
}
