"""Writes variants of a bundle's zip archive into a folder: good-NAME.zip holds the files and nothing else, bad-NAME.zip has bytes besides.

    python zips.py BUNDLE.zip FOLDER
"""
import io
import os
import struct
import sys
import zipfile
import zlib

JUNK = b"not of the bundle"
source, folder = sys.argv[1:]
with open(source, "rb") as stream:
    DATA = stream.read()
with zipfile.ZipFile(source) as archive:
    FILES = {member.filename: archive.read(member) for member in archive.infolist()}
DIRECTORY = struct.unpack("<L", DATA[-6:-2])[0]


def put(name, data):
    with open(os.path.join(folder, name + ".zip"), "wb") as stream:
        stream.write(data)


def moved(data, by):
    """The archive with all offsets raised, as programs that mend archives write them."""
    data, end = bytearray(data), len(data) - 22
    at = directory = struct.unpack("<L", data[end + 16 : end + 20])[0] + by
    data[end + 16 : end + 20] = struct.pack("<L", directory)
    while at < end:
        offset, = struct.unpack("<L", data[at + 42 : at + 46])
        data[at + 42 : at + 46] = struct.pack("<L", offset + by)
        at += 46 + struct.unpack("<H", data[at + 28 : at + 30])[0]
    return bytes(data)


def made(method=zipfile.ZIP_DEFLATED, change=None, between=b"", out=None, finish=None):
    out = out or io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for place, (name, content) in enumerate(FILES.items()):
            member = zipfile.ZipInfo(name, (2024, 2, 29, 12, 0, 0))
            member.compress_type = method
            if change and place == 1:
                change(member)
            archive.writestr(member, content)
            if between and place == 1:
                archive.fp.seek(archive.start_dir)
                archive.fp.write(between)
                archive.start_dir = archive.fp.tell()
        if finish:
            finish(archive)
    return out.getvalue()


put("good-as-it-was", DATA)
put("good-stored", made(zipfile.ZIP_STORED))
put("good-deflated", made())
put("bad-before", JUNK + DATA)
put("bad-before-with-offsets", moved(JUNK + DATA, len(JUNK)))
put("bad-behind", DATA + JUNK)
put("bad-behind-one-byte", DATA + b"\0")
put("bad-comment", DATA[:-2] + struct.pack("<H", len(JUNK)) + JUNK)
put("bad-second-archive", DATA + DATA)
put("bad-archive-before", moved(DATA + DATA, len(DATA)))
put("bad-between-files", made(between=JUNK))
put("bad-before-directory", DATA[:DIRECTORY] + JUNK + DATA[DIRECTORY:-6] + struct.pack("<L", DIRECTORY + len(JUNK)) + DATA[-2:])
put("bad-behind-directory", DATA[:-22] + JUNK + DATA[-22:])
put("bad-file-comment", made(change=lambda member: setattr(member, "comment", JUNK)))
put("bad-extra-field", made(change=lambda member: setattr(member, "extra", struct.pack("<HH", 0x7075, len(JUNK)) + JUNK)))
put("bad-file-more", made(finish=lambda archive: archive.writestr("notes.txt", JUNK)))
put("bad-folder", made(finish=lambda archive: archive.writestr("notes/", b"")))
put("bad-file-twice", made(finish=lambda archive: archive.writestr("README.txt", FILES["README.txt"])))
put("bad-cut-off", DATA[:-1])
put("bad-empty", b"")
put("bad-bzip2", made(zipfile.ZIP_BZIP2))


class Unseekable(io.RawIOBase):
    """Python then writes sizes behind the files (data descriptors)."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(data)

    def getvalue(self):
        return self.data


put("bad-data-descriptors", made(out=Unseekable()))

# The packed bytes of one file go on behind their end.
compressor = zipfile._get_compressor


class Tail:
    def __init__(self, *arguments):
        self.inner = compressor(*arguments)

    def compress(self, data):
        return self.inner.compress(data)

    def flush(self):
        return self.inner.flush() + JUNK


zipfile._get_compressor = Tail
put("bad-behind-packed-bytes", made())


# The packed bytes of each file are all there, but for the mark of their end.
class Unfinished(Tail):
    def flush(self):
        return self.inner.flush(zlib.Z_SYNC_FLUSH)


zipfile._get_compressor = Unfinished
put("bad-packed-bytes-without-end", made())
