"""Makes the encrypted clip of the example: 48 frames of 64 by 48 grey pixels at 12 frames a second.

A bright square of 12 by 12 pixels crosses a noisy background from left to right. It enters with frame 9, stands still
from frame 20 to 23, and is gone with frame 40. The noise changes by at most 3 of 255 from frame to frame, which is no
motion. Everything follows from the constants here, so that the files are always the same.

    pip install cryptography
    python make_clip.py data

writes the clip, its key and its first counter, and what a search for motion must find: computed here by the rule that the
program's documentation gives, and not by the program. The key is public, of course: it protects nothing but the example.
"""

import pathlib
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

WIDTH, HEIGHT, FRAMES, SIDE = 64, 48, 48, 12
BLOCK, CHANGE = 8, 16
KEY = bytes(range(32))
IV = bytes(range(0xA0, 0xB0))


def noise(x, y, frame):
    """A number from 0 to 3 that looks like none in particular."""
    value = (x * 73856093) ^ (y * 19349663) ^ (frame * 83492791)
    value = (value * 2654435761) & 0xFFFFFFFF
    return value >> 30


def place(frame):
    """Left edge of the square, or None where there is no square."""
    if not 9 <= frame < 40:
        return None
    moved = frame - 9 - max(0, min(frame, 23) - 19)
    return moved * 2 - 4


def picture(frame):
    left = place(frame)
    rows = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            bright = left is not None and left <= x < left + SIDE and 18 <= y < 18 + SIDE
            rows.append((200 if bright else 60) + noise(x, y, frame))
    return bytes(rows)


def detections(pictures):
    for frame in range(1, FRAMES):
        changed = []
        for top in range(0, HEIGHT, BLOCK):
            for left in range(0, WIDTH, BLOCK):
                places = [y * WIDTH + x for y in range(top, top + BLOCK) for x in range(left, left + BLOCK)]
                difference = sum(abs(pictures[frame][at] - pictures[frame - 1][at]) for at in places)
                if difference > CHANGE * len(places):
                    changed.append((left, top))
        if changed:
            lefts, tops = zip(*changed)
            right, bottom = max(lefts) + BLOCK, max(tops) + BLOCK
            yield f"{frame} {len(changed)} {min(lefts)},{min(tops)} {right},{bottom}\n"


def main(directory):
    pictures = [picture(frame) for frame in range(FRAMES)]
    clip = b"YUV4MPEG2 W%d H%d F12:1 Ip A1:1 Cmono\n" % (WIDTH, HEIGHT)
    clip += b"".join(b"FRAME\n" + pixels for pixels in pictures)
    (directory / "detections").write_text("".join(detections(pictures)))
    encryptor = Cipher(algorithms.AES(KEY), modes.CTR(IV)).encryptor()
    (directory / "clip.y4m.aes").write_bytes(encryptor.update(clip) + encryptor.finalize())
    (directory / "key").write_bytes(KEY)
    (directory / "iv").write_bytes(IV)


main(pathlib.Path(sys.argv[1]))
