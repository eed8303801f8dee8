package layertar

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestCleanPath(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "a/": "a", "./a": "a", "/a/b": "a/b", "//a//b/": "a/b", "a/./b": "a/b",
		"a/../b": "b", "/a/..": ".", "": ".", ".": ".", "./": ".", "/": ".", "...": "...",
		" a ": " a ", "a\n": "a\n", "\xff\xfe": "\xff\xfe", "..a/b..": "..a/b..",
		"..": ".", "../a": "a", "/..": ".", "/../a": "a", "a/../../b": "b", "a/../..": ".", "../../.wh.a": ".wh.a",
	} {
		if got, err := cleanPath(name); err != nil || got != want {
			t.Errorf("cleanPath(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"a\x00b", strings.Repeat("a/", maxPath)} {
		if got, err := cleanPath(name); fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("cleanPath(%.40q) = %.40q, %v; want an unsafe input", name, got, err)
		}
	}
}

func TestCheckLengths(t *testing.T) {
	longest := strings.Repeat("x", 255)
	if err := checkLengths("a/" + longest + "/b"); err != nil {
		t.Error(err)
	}
	err := checkLengths("a/" + longest + "x")
	if !errors.Is(err, unix.ENAMETOOLONG) || fault.ClassOf(err) != fault.UnsafeInput || !strings.Contains(err.Error(), "ENAMETOOLONG") {
		t.Error(err)
	}
}

func TestXattrsOf(t *testing.T) {
	got, trusted, err := parseXattrs(map[string]string{
		"path": "x", "SCHILY.xattr.user.b": "2", "SCHILY.xattr.user.a%3Db%25": "1", "SCHILY.xattr.trusted.x": "3"})
	if err != nil || len(trusted) != 1 || len(got) != 2 || got[0].name != "user.a=b%" || got[1].name != "user.b" || string(got[1].value) != "2" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, value := range map[string]string{
		"":                       "x",
		strings.Repeat("x", 256): "",
		"user.nul\x00":           "",
		"user.big":               strings.Repeat("x", 1<<16+1),
	} {
		if _, _, err := parseXattrs(map[string]string{paxXattr + name: value}); fault.ClassOf(err) != fault.UnsafeInput {
			t.Errorf("%.40q: %v; want an unsafe input", name, err)
		}
	}
}

func TestToleratedXattrErrors(t *testing.T) {
	capability, other := xattr{name: Capabilities}, xattr{name: "user.x"}
	for _, err := range []error{other.tolerate(unix.ENOTSUP), other.tolerate(unix.EPERM), capability.tolerate(unix.EPERM), other.tolerate(nil)} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := capability.tolerate(unix.ENOTSUP); fault.ClassOf(err) != fault.Unsupported {
		t.Errorf("lost capabilities are %v", err)
	}
	if err := other.tolerate(unix.ENOSPC); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("no space became %v", err)
	}
}

func TestPortableCapabilities(t *testing.T) {
	v3 := append([]byte{1, 0, 0, 3}, make([]byte, 20)...)
	v2 := append([]byte{1, 0, 0, 2}, make([]byte, 16)...)
	if got := PortableCapabilities(v3); string(got) != string(v2) || v3[3] != 3 {
		t.Errorf("revision 3 became %v", got)
	}
	for _, value := range [][]byte{v2, {}, {1, 0}, {0, 0, 0, 3}} {
		if got := PortableCapabilities(value); string(got) != string(value) {
			t.Errorf("%v became %v", value, got)
		}
	}
}
