//go:build vm

package layertar

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func nameRules() []rule {
	return []rule{
		{id: "N1", entries: []entry{aFile("/a//b/./c", "1"), aDir("//e//"), aHardLink("d/", "e/../a/b/c").mode(0o644), aHardLink("g/h", "a/b/c").mode(0o644)},
			want: []string{`a/b/c: file "1"`, `d: file "1"`, "e: dir", `g/h: file "1"`, "a/b/h: nothing"}},
		{id: "N2", entries: []entry{aFile("../a", "1"), aFile("/b/../../c", "2"), aSymlink("up", "../../.."), aFile("up/d", "3"), aHardLink("e", "../../a").mode(0o644)},
			want: []string{`a: file "1"`, `c: file "2"`, `d: file "3"`, `e: file "1"`, "up: to ../../.."}},
		{id: "N3", entries: []entry{aSymlink("l", "/x/y"), aFile("l/z/f", "1"), aDir("a/b"), aSymlink("b", "a/b"), aSymlink("p", "b/../q"), aFile("p/f", "2")},
			want: []string{`x/y/z/f: file "1"`, `a/q/f: file "2"`, "l: to /x/y"}},
		{id: "N4", entries: []entry{aFile("f", "1"), aFile("f/g", "2")}, refused: true},
		{id: "N4", entries: []entry{aFile("f", "1"), aSymlink("l", "f"), aFile("l/g", "2")}, refused: true},
		{id: "N4", entries: []entry{aDevice("f", tar.TypeFifo, 0, 0), aWhiteout("f/g")}, refused: true},
		{id: "N4", entries: []entry{anOpaqueMarker("f"), aFile("f", "1"), aFile("f/g", "2")}, refused: true},
		{id: "N4", entries: []entry{aSymlink("l", "f"), aFile("l/x", ""), aFile("f", "1"), aFile("f/g", "2")}, refused: true},
		{id: "N4", entries: []entry{aSymlink("l", "d"), aDir("l/f"), aFile("d/f", "1"), aFile("d/f/g", "2")}, refused: true},
		{id: "N5", entries: []entry{aFile(".wh.d/f", "1"), aFile("a/.wh.b/.wh.c", "")}, want: []string{".wh.d: dir", `.wh.d/f: file "1"`, "d: nothing", "a/.wh.b/c: whiteout"}},
		{id: "N6", below: []entry{aDir("usr/lib").mode(0o750).owner(3, 4), aSymlink("lib", "usr/lib"), aDir("usr/lib/x").mode(0o711)}, entries: []entry{aFile("lib/x/f", "1")},
			want: []string{"lib: dir 0750 3:4", "lib/x: dir 0711", `lib/x/f: file "1"`}, warned: `lib is a directory that hides a symlink of a layer below, to "usr/lib"`},
		{id: "N7", entries: []entry{aFile(strings.Repeat("x", 256), "")}, refused: true},
		{id: "N7", entries: []entry{aFile(strings.Repeat("x/", 16384)+"f", "")}, refused: true},
		{id: "N7", entries: []entry{aFile(strings.Repeat(strings.Repeat("x", 255)+"/", 127)+strings.Repeat("f", 255), "")}, want: []string{strings.Repeat("x", 255) + ": dir"}},
		{id: "N7", raw: rawPAX(aFile("f", ""), map[string]string{"path": "a\x00b"}), refused: true},
		{id: "N8", entries: []entry{aDir("./").mode(0o700).owner(5, 5)}, want: []string{".: dir"}},
		{id: "N8", entries: []entry{aFile("..", "x")}, want: []string{".: dir"}, warned: "is left out"},
		{id: "N8", entries: []entry{aSymlink("a/..", "x")}, want: []string{".: dir"}, warned: "is left out"},
		{id: "R1", entries: []entry{aFile("f", "1"), aDir("d").mode(0o700), aFile("d/x", "2"), aFile("f", "3"), aDir("d").mode(0o711), aDir("e"), aFile("e/x", ""), aSymlink("e", "d")},
			want: []string{`f: file "3"`, "d: dir 0711", `d/x: file "2"`, "e: to d"}},
		{id: "R1", below: []entry{aFile("d/old", "")}, entries: []entry{aFile("d", "1"), aDir("d")}, want: []string{"d: dir"}},
		{id: "R1", entries: []entry{aDir("d"), aDir("d/e"), aSymlink("d", "../d"), aFile("f/g", ""), aDir("f/g"), aSymlink("f", strings.Repeat("f/", 2000))}, want: []string{"d: to ../d"}},
	}
}

func kindRules() []rule {
	return []rule{
		{id: "K1", entries: []entry{aFile("f", "1").kind(tar.TypeCont)}, want: []string{`f: file "1"`}},
		{id: "K2", entries: []entry{{Header: header('V', "label", 0)}, {Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "a/b", PAXRecords: map[string]string{"comment": "x"}}}, aFile("f", "")},
			want: []string{"label: nothing", "a: nothing", "f: file"}},
		{id: "K3", entries: []entry{{Header: header('M', "f", 0)}}, refused: true},
		{id: "K3", entries: []entry{{Header: header('Z', "f", 0)}}, refused: true},
		{id: "K4", entries: []entry{aDevice("d", tar.TypeChar, 4095, 1048575), aDevice("e", tar.TypeBlock, 8, 1), aDevice("f", tar.TypeFifo, 0, 0)},
			want: []string{"d: device 4095:1048575 0600", "e: device 8:1 0600", "f: 0600"}},
		{id: "K4", entries: []entry{aDevice("d", tar.TypeBlock, 0, 0), aDevice("e", tar.TypeChar, 0, 1)}, want: []string{"d: device 0:0 0600", "e: device 0:1 0600"}},
		{id: "K4", entries: []entry{aDevice("d", tar.TypeBlock, 4096, 0)}, refused: true},
		{id: "K4", entries: []entry{aDevice("d", tar.TypeBlock, 0, 1<<20)}, refused: true},
		{id: "S1", raw: oldGNUSparse(), want: []string{`f: file "[4096]data[4092]more[4092]"`}},
		{id: "S1", raw: rawRecords(aFile("f", "datamore"), zeroForm), want: []string{`f: file "[4096]data[4092]more[1804]"`}},
		{id: "S1", raw: rawPAX(aFile("f", "datamore"), map[string]string{"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.numblocks": "2", "GNU.sparse.map": "4096,4,8192,4", "GNU.sparse.size": "10000"}),
			want: []string{`f: file "[4096]data[4092]more[1804]"`}},
		{id: "S1", raw: rawPAX(aFile("x", "1\n4096\n4\n"+strings.Repeat("\x00", 512-9)+"data"), map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": "8192"}),
			want: []string{`f: file "[4096]data[4092]"`, "x: nothing"}},
	}
}

// zeroForm are the records of the form 0.0: a pair for each piece, in order.
var zeroForm = paxRecord("GNU.sparse.size", "10000") + paxRecord("GNU.sparse.numblocks", "2") +
	paxRecord("GNU.sparse.offset", "4096") + paxRecord("GNU.sparse.numbytes", "4") +
	paxRecord("GNU.sparse.offset", "8192") + paxRecord("GNU.sparse.numbytes", "4")

// oldGNUSparse is a tar with a file in GNU tar's old form: 4 bytes at 4096, and 4 at 8192,
// the latter in an extension header.
func oldGNUSparse() []byte {
	h := rawHeader('S', "f", "", 8)
	copy(h[257:], "ustar  \x00")
	copy(h[329:], make([]byte, 16))
	copy(h[386:], "00000010000\x0000000000004\x00")
	h[482] = 1
	copy(h[483:], "00000030000\x00")
	extension := make([]byte, 512)
	copy(extension, "00000020000\x0000000000004\x00")
	out := append(sum(h), extension...)
	out = append(out, padded("datamore")...)
	return append(out, make([]byte, 1024)...)
}

func attributeRules(t *testing.T) []rule {
	acl := posixACL(0o7, 0o7, 0o7, 0o4)
	return []rule{
		{id: "A1", entries: []entry{aFile("a", "").owner(-1, -1), aFile("b", "").owner(1<<32-1, 1<<32+7), aFile("c", "").owner(1<<32-2, -2)},
			want: []string{"a: file", "b: file 0:7", "c: file 4294967294:4294967294"}},
		{id: "A3", entries: []entry{aFile("f", "").mode(0o104755).owner(7, 8), aDir("d").mode(0o3777), aFile("d/g", "").mode(0o2711), aDevice("s", tar.TypeFifo, 0, 0).mode(0o1622)},
			want: []string{"f: file 4755 7:8", "d: dir 3777", "d/g: file 2711", "s: 1622"}},
		{id: "A3", entries: []entry{aFile("f", "").mode(0o4755), aHardLink("g", "f").mode(0o4755).owner(7, 8), aDir("d").mode(0o6755), aDir("d").mode(0o6755).owner(7, 8)},
			want: []string{"f: file 4755 7:8", "d: dir 6755 7:8"}},
		{id: "A4", below: []entry{aDir("d").mode(0o1777).xattr("user.a", "b"), aDir("d/e").mode(0o700).owner(1000, 1000)}, entries: []entry{aFile("d/e/f", ""), aFile("x/y", ""), anOpaqueMarker("d/e")},
			want: []string{"d: dir 1777 user.a=b", "d/e: dir 0700 1000:1000 trusted.overlay.opaque=y", "x: dir"}},
		{id: "A4", below: []entry{aFile("d", ""), aSymlink("l", "nothing"), aSymlink("loop", "loop")}, entries: []entry{aFile("d/f", ""), aWhiteout("e/f")}, want: []string{"d: dir", "e: dir"}},
		{id: "A4", below: []entry{aSymlink("l", "nothing")}, entries: []entry{aFile("l/f", "")}, want: []string{"l: dir"}, warned: "hides a symlink"},
		{id: "A4", below: []entry{aDir("b/c").mode(0o2750).owner(1, 2)}, entries: []entry{aDir("d").mode(0o2755).owner(3, 4), aFile("d/e/f", ""), aFile("b/c/d/f", "")},
			want: []string{"d: dir 2755 3:4", "d/e: dir 0:4", "d/e/f: file", "b/c/d: dir 0:2", "b/c/d/f: file"}},
		{id: "A4", below: []entry{aDir("d").mode(0o700)}, entries: []entry{aFile("d/f", ""), aDir("d").mode(0o711)}, want: []string{"d: dir 0711"}},
		{id: "A4", below: []entry{aDir("d").mode(0o700)}, entries: []entry{aWhiteout("d"), aFile("d/f", "")}, want: []string{"d: dir trusted.overlay.opaque=y"}},
		{id: "A5", entries: []entry{aFile("f", "x").xattr("trusted.overlay.metacopy", "")}, want: []string{`f: file "x"`}, warned: "trusted.overlay.metacopy"},
		{id: "A5", entries: []entry{aDir("d").xattr("trusted.overlay.redirect", "/e")}, want: []string{"d: dir"}, warned: "trusted.overlay.redirect"},
		{id: "A5", entries: []entry{aDir("d").xattr("trusted.x", "1")}, want: []string{"d: dir"}, warned: "trusted.x"},
		{id: "A5", entries: []entry{aDir("d").xattr("trusted.overlay.opaque", "y"), aFile("f", "").xattr("trusted.overlay.opaque", "y")}, want: []string{"d: dir trusted.overlay.opaque=y", "f: file"}},
		{id: "A5", entries: []entry{aDir("d").xattr("trusted.overlay.opaque", "x")}, want: []string{"d: dir"}, warned: "trusted.overlay.opaque"},
		{id: "A5", base: true, entries: []entry{aDir("d").xattr("trusted.overlay.opaque", "y")}, want: []string{"d: dir"}},
		{id: "A6", entries: []entry{aDir("d").xattr("user.overlay.opaque", "y"), aFile("f", "").xattr("user.x", "1"), aSymlink("l", "f").xattr("user.x", "1")},
			want: []string{"d: dir user.overlay.opaque=y", "f: file user.x=1", "l: to f"}},
		{id: "A7", entries: []entry{aFile("f", "").xattr("system.posix_acl_access", acl).mode(0o640)}, want: []string{aclLine(t, "f: file 0640")}},
		{id: "A7", entries: []entry{aDir("d").xattr("system.posix_acl_default", acl), aFile("d/f", "").mode(0o640)}, want: []string{aclLine(t, "d/f: file 0640")}},
		{id: "A7", below: []entry{aDir("d").xattr("system.posix_acl_default", acl)}, entries: []entry{aFile("d/e/f", "").mode(0o640)}, want: []string{aclLine(t, "d/e: dir", "access", "default"), aclLine(t, "d/e/f: file 0640")}},
		{id: "A8", entries: []entry{aFile("f", "").xattr("bogus.x", "1"), aFile("g", "").xattr("SCHILY", "1")}, want: []string{"f: file"}},
		{id: "A9", entries: []entry{aFile("f", "").xattr("user.x", strings.Repeat("x", 1<<16))}, want: []string{"f: file user.x=" + strings.Repeat("x", 1<<16)}},
		{id: "A9", entries: []entry{aFile("f", "").xattr("user.x", strings.Repeat("x", 1<<16+1))}, refused: true},
		{id: "A10", entries: []entry{aFile("f", "").xattr("user.a%3Db%25", "1")}, want: []string{"f: file user.a=b%=1"}},
	}
}

// posixACL is an access control list with one named user, as the kernel stores it.
func posixACL(owner, user, mask, other uint16) string {
	var b bytes.Buffer
	const none = 1<<32 - 1
	for _, v := range []any{uint32(2), uint16(1), owner, uint32(none), uint16(2), user, uint32(1000), uint16(4), uint16(5), uint32(none), uint16(16), mask, uint32(none), uint16(32), other, uint32(none)} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a buffer takes everything
	}
	return b.String()
}

// aclLine adds the lists, that of access by default, where the file system keeps them.
func aclLine(t *testing.T, line string, lists ...string) string {
	dir := extract(t, aFile("f", "").xattr("system.posix_acl_access", posixACL(7, 7, 7, 4)))
	if strings.Contains(describePath(t, dir, "f"), "posix_acl") {
		if len(lists) == 0 {
			lists = []string{"access"}
		}
		for _, list := range lists {
			line += " system.posix_acl_" + list
		}
	}
	return line
}

// capable is the value of capabilities in revision 2.
var capable = "\x01\x00\x00\x02\x00\x04" + strings.Repeat("\x00", 14)

func linkRules() []rule {
	below := []entry{aFile("etc/passwd", "root").mode(0o600).owner(1, 2), aFile("ping", "").xattr(Capabilities, capable), aSymlink("l", "etc/passwd"), aSymlink("e", "etc"), aDevice("d", tar.TypeBlock, 8, 1)}
	return []rule{
		{id: "L1", below: below, entries: []entry{aHardLink("f", "etc/passwd").mode(0o640).owner(3, 4)}, want: []string{`f: file "root" 0640 3:4`, "etc: nothing"}, warned: "is a copy"},
		{id: "L1", below: below, entries: []entry{aHardLink("f", "/e/passwd").mode(0o644), aHardLink("g", "f").mode(0o644)}, want: []string{`f: file "root"`, `g: file "root"`}, warned: "is a copy"},
		{id: "L1", below: below, entries: []entry{aHardLink("f", "l"), aHardLink("g", "d").mode(0o600)}, want: []string{"f: to etc/passwd", "g: device 8:1 0600"}, warned: "is a copy"},
		{id: "L1", below: below, entries: []entry{aDir("etc"), aFile("etc/passwd", "mine"), aHardLink("f", "etc/passwd").mode(0o644)}, want: []string{`f: file "mine"`}},
		{id: "L2", below: below, entries: []entry{aHardLink("f", "nothing")}, refused: true},
		{id: "L2", below: below, entries: []entry{aHardLink("f", "etc")}, refused: true},
		{id: "L2", entries: []entry{aDir("d"), aHardLink("f", "d")}, refused: true},
		{id: "L2", entries: []entry{aHardLink("f", "/")}, refused: true},
		{id: "L2", base: true, entries: []entry{aHardLink("f", "etc/passwd")}, refused: true},
		{id: "L3", raw: sizedLink(), want: []string{`a: file "1"`, `l: file "1"`, `b: file "2"`}},
		{id: "L4", entries: []entry{aFile("f", "1"), aHardLink("f", "f").mode(0o600), aHardLink("f", "../f").mode(0o640)}, want: []string{`f: file "1" 0640`}},
		{id: "L5", entries: []entry{aWhiteout("a"), aHardLink("b", "a")}, want: []string{"b: whiteout"}},
		{id: "L5", base: true, entries: []entry{aWhiteout("d/a"), aFile("b", "1"), aHardLink("b", "d/a"), aHardLink("c", "/d/a")}, want: []string{"b: nothing", "c: nothing"}},
		{id: "L6", entries: []entry{aSymlink("s", "/x"), aHardLink("t", "s").mode(0o600)}, want: []string{"t: to /x"}},
		{id: "L9", entries: []entry{aFile("f", "").xattr(Capabilities, capable), aHardLink("g", "f").mode(0o644).owner(1, 1)}, want: []string{"f: file 1:1 security.capability=" + capable, "g: file 1:1 security.capability=" + capable}},
		{id: "L9", below: below, entries: []entry{aHardLink("g", "ping").mode(0o644).owner(1, 1)}, want: []string{"g: file 1:1 security.capability=" + capable}, warned: "is a copy"},
		{id: "L7", entries: []entry{aDir(".wh..wh.plnk"), aFile(".wh..wh.plnk/1.2", "1"), aHardLink("a", ".wh..wh.plnk/1.2").mode(0o600), aHardLink("b", "/.wh..wh.plnk/1.2").mode(0o600)},
			want: []string{`a: file "1" 0600`, `b: file "1" 0600`, ".wh..wh.plnk: nothing"}},
		{id: "L8", entries: []entry{aSymlink("l", strings.Repeat("x", 4095))}, want: []string{"l: to " + strings.Repeat("x", 4095)}},
		{id: "L8", entries: []entry{aSymlink("l", "")}, refused: true},
		{id: "L8", entries: []entry{aSymlink("l", strings.Repeat("x", 4096))}, refused: true},
	}
}

// sizedLink is a tar with a hard link that says a size and has no content, as star writes
// it.
func sizedLink() []byte {
	out := append(rawHeader('0', "a", "", 1), padded("1")...)
	out = append(out, rawHeader('1', "l", "a", 1)...)
	out = append(out, rawHeader('0', "b", "", 1)...)
	out = append(out, padded("2")...)
	return append(out, make([]byte, 1024)...)
}

func whiteoutRules() []rule {
	device := aDevice("d", tar.TypeChar, 0, 0)
	return []rule{
		{id: "W1", entries: []entry{aWhiteout("a"), aFile("a", "1"), aFile("b", "2"), aWhiteout("b"), aDir("c"), aFile("c/f", ""), aWhiteout("c"), aWhiteout("d"), aWhiteout("d")},
			want: []string{`a: file "1"`, `b: file "2"`, "c: dir trusted.overlay.opaque=y", "c/f: file", "d: whiteout"}},
		{id: "W2", entries: []entry{aWhiteout("d"), aDir("d"), aWhiteout("e"), aFile("e", ""), aDir("e")}, want: []string{"d: dir trusted.overlay.opaque=y", "e: dir trusted.overlay.opaque=y"}},
		{id: "W3", base: true, entries: []entry{aWhiteout("a"), aFile("b", "1"), aWhiteout("b"), aFile("c/f", ""), aWhiteout("c"), aWhiteout("d"), aFile("d", "2"), aWhiteout("e/f")},
			want: []string{"a: nothing", `b: file "1"`, "c: dir", "c/f: file", `d: file "2"`, "e: dir"}},
		{id: "W3", base: true, entries: []entry{aFile("a", "1"), aWhiteout("a"), aFile("a/f", "2")}, refused: true},
		{id: "W4", entries: []entry{aFile("d/f", ""), device}, want: []string{"d: whiteout"}},
		{id: "W4", entries: []entry{device, aDir("d")}, want: []string{"d: dir trusted.overlay.opaque=y"}},
		{id: "W4", base: true, entries: []entry{device, aHardLink("e", "d")}, want: []string{"d: nothing", "e: nothing"}},
		{id: "W4", base: true, entries: []entry{aFile("d/f", ""), device}, want: []string{"d: nothing"}},
		{id: "W5", entries: []entry{aDir("a"), anOpaqueMarker("a"), aFile("a/f", ""), aFile("b/f", ""), anOpaqueMarker("b"), anOpaqueMarker("c"), aDir("c").mode(0o700), anOpaqueMarker("c")},
			want: []string{"a: dir trusted.overlay.opaque=y", "a/f: file", "b: dir trusted.overlay.opaque=y", "b/f: file", "c: dir 0700 trusted.overlay.opaque=y"}},
		{id: "W5", base: true, entries: []entry{aFile("a/b/f", ""), anOpaqueMarker("a"), anOpaqueMarker("c")}, want: []string{"a: dir", "a/b/f: file", "c: dir"}},
		{id: "W5", entries: []entry{aFile("a/f", "1"), anOpaqueMarker("a/f"), aSymlink("l", "a/f"), anOpaqueMarker("l")}, want: []string{`a/f: file "1"`, "l: to a/f"}, warned: "no effect"},
		{id: "W5", entries: []entry{aWhiteout("d"), anOpaqueMarker("d"), aDevice("e", tar.TypeChar, 0, 0), anOpaqueMarker("e"), aWhiteout("f"), anOpaqueMarker("f"), aFile("f/g", "")},
			want: []string{"d: whiteout", "e: whiteout", "f: dir trusted.overlay.opaque=y", "f/g: file"}},
		{id: "W5", base: true, entries: []entry{aWhiteout("d"), anOpaqueMarker("d"), aWhiteout("f"), anOpaqueMarker("f"), aFile("f/g", "")}, want: []string{"d: dir", "f: dir", "f/g: file"}},
		{id: "W6", below: []entry{aFile("x", "")}, entries: []entry{aFile(".wh..wh..opq", ""), aFile("f", "")}, want: []string{"f: file", ".wh..wh..opq: nothing", "x: nothing", ".: dir trusted.overlay.opaque=y"}, warned: "no effect"},
		{id: "W6", base: true, entries: []entry{aFile("./.wh..wh..opq", ""), aFile("f", "")}, want: []string{"f: file", ".wh..wh..opq: nothing"}},
		{id: "W7", entries: []entry{aFile(".wh..wh.aufs", ""), aDir(".wh..wh.orph"), aFile(".wh..wh.orph/x", ""), aFile("d/.wh..wh.x", ""), aFile("f", "")},
			want: []string{".wh..wh.aufs: nothing", ".wh..wh.orph: nothing", "d: nothing", ".wh.aufs: nothing", "f: file"}},
		{id: "W8", entries: []entry{aFile(".wh.", "")}, refused: true},
		{id: "W8", entries: []entry{aFile("a/.wh..", "")}, refused: true},
		{id: "W8", entries: []entry{aFile("a/.wh...", "")}, refused: true},
	}
}

func streamRules(t *testing.T) []rule {
	whole, long := tarOf(t, aFile("f", "1")), tarOf(t, aFile("f", strings.Repeat("x", 2000)))
	return []rule{
		{id: "T1", raw: []byte{}, want: []string{"f: nothing"}},
		{id: "T2", raw: make([]byte, 10240), want: []string{"f: nothing"}},
		{id: "T2", raw: append(bytes.Clone(whole), make([]byte, 1<<20)...), want: []string{`f: file "1"`}},
		{id: "T2", raw: append(bytes.Clone(whole), bytes.Repeat([]byte("garbage"), 1000)...), want: []string{`f: file "1"`}},
		{id: "T3", raw: whole[:len(whole)-1024], want: []string{`f: file "1"`}},
		{id: "T3", raw: whole[:len(whole)-512], want: []string{`f: file "1"`}},
		{id: "T4", raw: long[:1000], refused: true},
		{id: "T4", raw: long[:300], refused: true},
		{id: "T4", raw: bytes.Repeat([]byte("garbage "), 200), refused: true},
		{id: "T4", raw: append(bytes.Clone(whole[:len(whole)-512]), bytes.Repeat([]byte("garbage "), 200)...), refused: true},
	}
}
