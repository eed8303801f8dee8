package images

import (
	"archive/tar"
	"strings"
	"time"
)

// impliedKinds have entries in directories that their layers do not name.
func impliedKinds() []Reported {
	dir := func(mode int64, owner int) []Entry {
		return []Entry{typedEntry(tar.TypeDir, "d/", mode, owner), textEntry("d/old", "old")}
	}
	const show = "busybox stat -c '%a %u:%g' d; busybox ls d"
	return []Reported{
		{Name: "implied by a symlink", Layers: [][]Entry{dir(0o2770, 1000), {pointingEntry(tar.TypeSymlink, "d/l", "x")}}, Script: show, Want: "2770 1000:1000 l old"},
		{
			Name:   "implied by a FIFO and a device",
			Layers: [][]Entry{dir(0o1777, 5), {typedEntry(tar.TypeFifo, "d/p", 0o600, 0), deviceEntry(tar.TypeChar, "d/null", 1, 3)}},
			Script: show, Want: "1777 5:5 null old p",
		},
		{Name: "implied by a hard link", Layers: [][]Entry{dir(0o1777, 0), {textEntry("a", "a"), pointingEntry(tar.TypeLink, "d/b", "a")}}, Script: show, Want: "1777 0:0 b old"},
		{
			Name:   "implied by a whiteout above two layers",
			Layers: [][]Entry{dir(0o700, 7), {typedEntry(tar.TypeDir, "d/", 0o711, 8)}, {textEntry("d/.wh.old", "")}},
			Script: show, Want: "711 8:8",
		},
		{Name: "implied by an opaque marker", Layers: [][]Entry{dir(0o750, 9), {textEntry("d/.wh..wh..opq", "")}}, Script: show, Want: "750 9:9"},
		{
			Name:   "implied twice",
			Layers: [][]Entry{dir(0o750, 9), {textEntry("d/e/f/g", "")}, {textEntry("d/e/h", "")}},
			Script: show + "; busybox stat -c '%a %u:%g' d/e/f; busybox ls d/e", Want: "750 9:9 e old 755 0:0 f h",
		},
	}
}

// deletionKinds delete what is below, and put something in its place.
func deletionKinds() []Reported {
	below := []Entry{
		typedEntry(tar.TypeDir, "d/", 0o755, 0), textEntry("d/old", "old"),
		typedEntry(tar.TypeDir, "usr/lib/", 0o755, 0), textEntry("usr/lib/kept", ""), pointingEntry(tar.TypeSymlink, "lib", "usr/lib"),
	}
	return []Reported{
		{
			Name:   "a whiteout, then a directory of its name",
			Layers: [][]Entry{below, {textEntry(".wh.d", ""), typedEntry(tar.TypeDir, "d/", 0o755, 0), textEntry("d/new", "")}},
			Script: "busybox ls d", Want: "new", Containerd: "new old",
		},
		{Name: "a whiteout, then a file below its name", Layers: [][]Entry{below, {textEntry(".wh.d", ""), textEntry("d/new", "")}}, Script: "busybox ls d", Want: "new", Containerd: Refused},
		{
			Name:   "a whiteout through a symlink below",
			Layers: [][]Entry{below, {textEntry("lib/.wh.kept", "")}},
			Script: "busybox test -e lib/kept || echo gone; busybox ls usr/lib", Want: "gone kept",
		},
		{
			Name:   "a directory in a symlink's place",
			Layers: [][]Entry{below, {typedEntry(tar.TypeDir, "lib/", 0o700, 3), textEntry("lib/new", "")}},
			Script: "busybox stat -c '%a %u' lib; busybox ls lib usr/lib", Want: "700 3 lib: new usr/lib: kept",
		},
		{Name: "a file between two directories", Layers: [][]Entry{below, {textEntry("d", "")}, {textEntry("d/new", "")}}, Script: "busybox ls d", Want: "new"},
		{Name: "a whiteout device", Layers: [][]Entry{below, {deviceEntry(tar.TypeChar, "d/old", 0, 0), typedEntry(tar.TypeFifo, "d/p", 0o600, 0)}}, Script: "busybox ls d", Want: "p"},
		{
			Name:   "a whiteout after its entry",
			Layers: [][]Entry{below, {textEntry("d/old", "new"), textEntry("d/.wh.old", "")}},
			Script: "busybox cat d/old", Want: "new", Containerd: Refused,
		},
		{Name: "an opaque marker without its directory", Layers: [][]Entry{below, {textEntry(".wh..wh..opq", ""), textEntry("new", "")}}, Script: "busybox ls", Want: "new"},
		{Name: "deleted, and back", Layers: [][]Entry{{textEntry("f", "body")}, {textEntry(".wh.f", "")}, {textEntry("f", "back")}}, Script: "busybox cat f", Want: "back"},
	}
}

// linkKinds link to what only a layer below has.
func linkKinds() []Reported {
	below := []Entry{
		typedEntry(tar.TypeDir, "var/data/", 0o755, 0), textEntry("var/data/kept", "kept"), pointingEntry(tar.TypeSymlink, "data", "var/data"),
		pointingEntry(tar.TypeSymlink, "l", "var/data/kept"), deviceEntry(tar.TypeBlock, "node", 7, 9),
	}
	return []Reported{
		{
			Name:   "a hard link through a symlink below",
			Layers: [][]Entry{below, {pointingEntry(tar.TypeLink, "data/y", "data/kept")}},
			Script: "busybox cat data/y; echo; busybox ls var/data", Want: "kept kept", Containerd: Refused,
		},
		{Name: "a hard link to a symlink below", Layers: [][]Entry{below, {pointingEntry(tar.TypeLink, "k", "l")}}, Script: "busybox readlink k", Want: "var/data/kept", Containerd: Refused},
		{
			Name:   "a hard link to a device below",
			Layers: [][]Entry{below, {pointingEntry(tar.TypeLink, "n", "node")}},
			Script: "busybox stat -c '%F %t:%T' n", Want: "block special file 7:9", Containerd: Refused,
		},
		{Name: "a hard link to a symlink", Layers: [][]Entry{{pointingEntry(tar.TypeSymlink, "s", "t"), pointingEntry(tar.TypeLink, "u", "s")}}, Script: "busybox readlink u", Want: "t"},
	}
}

// attributeKinds have attributes of overlayfs's own, and values at the limits.
func attributeKinds() []Reported {
	below := []Entry{typedEntry(tar.TypeDir, "a/", 0o755, 0), textEntry("a/x", ""), typedEntry(tar.TypeDir, "b/", 0o755, 0), textEntry("b/z", "")}
	marked := func(dir, name, value string, more ...Entry) [][]Entry {
		return [][]Entry{below, append([]Entry{attributedEntry(typedEntry(tar.TypeDir, dir, 0o755, 0), name, value)}, more...)}
	}
	owned := typedEntry(tar.TypeReg, "f", 0o644, 1<<32-2)
	early := textEntry("f", "")
	early.Header.Format, early.Header.ModTime = tar.FormatGNU, time.Unix(-1, 0)
	return []Reported{
		{Name: "a redirect", Layers: marked("b/", "trusted.overlay.redirect", "a", textEntry("b/y", "")), Script: "busybox ls b", Want: "y z"},
		{Name: "metacopy", Layers: [][]Entry{below, {attributedEntry(textEntry("a/x", "whole"), "trusted.overlay.metacopy", "\x00")}}, Script: "busybox cat a/x", Want: "whole"},
		{
			Name:   "whiteouts as attributes",
			Layers: marked("a/", "trusted.overlay.opaque", "x", attributedEntry(textEntry("a/x", ""), "trusted.overlay.whiteout", "y")),
			Script: "busybox ls a", Want: "x",
		},
		{Name: "an opaque attribute in the user's name space", Layers: marked("a/", "user.overlay.opaque", "y", textEntry("a/y", "")), Script: "busybox ls a", Want: "x y"},
		{Name: "an owner at the limit", Layers: [][]Entry{{owned}}, Script: "busybox stat -c '%u:%g' f", Want: "4294967294:4294967294"},
		{Name: "a time before 1970", Layers: [][]Entry{{early}}, Script: "busybox stat -c %Y f", Want: "0"},
		{
			Name: "names of every byte",
			Layers: [][]Entry{{
				textEntry("n/a\nb", "1"), textEntry("n/\xff\xfe", "2"), textEntry(`n/c\d`, "3"), textEntry("n/e:f,g", "4"), textEntry("n/"+strings.Repeat("h", 255), "5"),
			}},
			Script: `for f in n/*; do busybox cat "$f"; done | busybox wc -c`, Want: "5",
		},
	}
}
