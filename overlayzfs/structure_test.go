package overlayzfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// received makes a store as another host sends it: a layer, a limited container's layer, a layer
// that was being removed, a measurement and a probe.
func received(t *testing.T) home {
	t.Helper()
	h := home(t.TempDir())
	if err := makeStoreDirs(h, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"base", "limited", ".overlayzfs/trash/" + shortB} {
		if err := errors.Join(os.MkdirAll(h.path(id), 0o700), os.WriteFile(h.path(id, linkName), []byte(shortA), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"base/diff/etc", "base/work/work/incompat/volatile", ".overlayzfs/new/copy-up-1/upper/file", ".overlayzfs/new/.probe-1", "limited/upper", ".overlayzfs/carried"} {
		if err := os.MkdirAll(h.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"l/" + shortA: "../base/diff", "base/diff/etc/passwd": "/etc/passwd", ".overlayzfs/new/.probe-1/symlink": "target", "limited/diff": "upper/diff", "limited/work": "upper/work",
	} {
		if err := os.Symlink(target, h.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func checkedAt(t *testing.T, h home, check func(int) error) error {
	t.Helper()
	root, err := os.Open(string(h))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return check(int(root.Fd()))
}

func TestAStoreThatCameIsTaken(t *testing.T) {
	if err := checkedAt(t, received(t), checkReceived); err != nil {
		t.Error(err)
	}
	if err := checkedAt(t, home(t.TempDir()), checkReceived); err != nil {
		t.Errorf("an empty one: %v", err)
	}
}

// TestNoLinkOfAStoreThatCameIsFollowed tries the links that an attacker would send.
func TestNoLinkOfAStoreThatCameIsFollowed(t *testing.T) {
	link := func(name, target string) func(home) error {
		return func(h home) error {
			return errors.Join(os.RemoveAll(h.path(name)), os.Symlink(target, h.path(name)))
		}
	}
	for name, harm := range map[string]func(home) error{
		"its own directory":   link(".overlayzfs", "/etc"),
		"trash":               link(".overlayzfs/trash", "/etc"),
		"new":                 link(".overlayzfs/new", "/etc"),
		"a layer in trash":    link(".overlayzfs/trash/"+shortB, "/etc"),
		"a file in trash":     link(".overlayzfs/trash/"+shortB+"/link", "/etc/passwd"),
		"what boot becomes":   link(".overlayzfs/boot.new", "/etc/passwd"),
		"boot":                link(".overlayzfs/boot", "/etc/passwd"),
		"carried":             link(".overlayzfs/carried", "/var/lib/docker"),
		"a count":             link(".overlayzfs/refs/base", "/etc/passwd"),
		"the short links":     link("l", "/etc"),
		"a short link":        link("l/"+shortA, "../../../etc"),
		"a short link's name": link("l/"+shortA, "/etc/diff"),
		"a layer":             link("base", "/etc"),
		"content":             link("base/diff", "/etc"),
		"content above":       link("base/diff", "../../upper/diff"),
		"work":                link("base/work", "/etc"),
		"below work":          link("base/work/work", "/etc"),
		"marks":               link("base/work/work/incompat", "/etc"),
		"merged":              link("base/merged", "/etc"),
		"upper":               link("limited/upper", "/etc"),
		"below upper":         link("limited/upper/diff", "/etc"),
		"a name":              link("base/link", "/etc/passwd"),
		"what is below":       link("base/lower", "/etc/passwd"),
		"something unknown":   link("base/more", "/etc"),
		"beside the layers":   link("-x", "/etc"),
		"a fifo":              func(h home) error { return unix.Mkfifo(h.privatePath(storeNameFile), 0o600) },
		"a directory":         func(h home) error { return os.Mkdir(h.privatePath(engineFile), 0o700) },
		"no end":              func(h home) error { return os.Truncate(h.path("base", linkName), 1<<40) },
		"containerd's":        func(h home) error { return os.WriteFile(h.privatePath(doorFile), []byte("containerd"), 0o600) },
	} {
		h := received(t)
		if err := harm(h); err != nil {
			t.Fatal(name, err)
		}
		if err := checkedAt(t, h, checkReceived); !errors.Is(err, fault.UnsafeInput) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStrayFilesTravel: what an administrator left among the short links leads nowhere.
func TestStrayFilesTravel(t *testing.T) {
	h := received(t)
	if err := errors.Join(os.WriteFile(h.path(linkDir, "notes"), nil, 0o600), os.Mkdir(h.path(linkDir, "old"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := checkedAt(t, h, checkReceived); err != nil {
		t.Error(err)
	}
}

// TestADriverOpensNoStoreWithLinks makes sure that Open refuses links, too.
func TestADriverOpensNoStoreWithLinks(t *testing.T) {
	for _, name := range []string{"l", ".overlayzfs", ".overlayzfs/trash", ".overlayzfs/boot", ".overlayzfs/boot.new"} {
		h, outside := received(t), t.TempDir()
		if err := errors.Join(os.RemoveAll(h.path(name)), os.Symlink(outside, h.path(name))); err != nil {
			t.Fatal(err)
		}
		if err := checkedAt(t, h, checkPrivateDir); !errors.Is(err, fault.UnsafeInput) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(name, "boot") {
			if err := makeStoreDirs(h, Options{}); !errors.Is(err, fault.UnsafeInput) {
				t.Errorf("%s is made use of: %v", name, err)
			}
		}
		if left, err := os.ReadDir(outside); len(left) > 0 || err != nil {
			t.Errorf("%s: outside is %v, %v", name, left, err)
		}
	}
}

func TestNoLinkIsWrittenThrough(t *testing.T) {
	dir := t.TempDir()
	victim, file := filepath.Join(dir, "passwd"), filepath.Join(dir, "boot")
	if err := errors.Join(os.WriteFile(victim, []byte("root"), 0o600), os.Symlink(victim, file+".new")); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(file, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(victim); string(raw) != "root" || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
	if raw, err := os.ReadFile(file); string(raw) != "x" || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestCarriedRecordsAreThoseOfTheStore(t *testing.T) {
	h, outside := received(t), t.TempDir()
	if c, err := openCarriedDir(string(h)); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if err := errors.Join(os.Remove(h.privatePath(carriedDirName)), os.Symlink(outside, h.privatePath(carriedDirName))); err != nil {
		t.Fatal(err)
	}
	if _, err := openCarriedDir(string(h)); err == nil {
		t.Error("records from elsewhere are taken")
	}
}

func TestALowerLayerIsOneOfTheStore(t *testing.T) {
	h := received(t)
	top := plant(t, h, "top", map[string]string{linkName: shortB, lowerName: "l/" + shortA})
	if dirs, err := top.resolveLowers(); err != nil || len(dirs) != 1 {
		t.Errorf("%q, %v", dirs, err)
	}
	if err := errors.Join(os.Remove(h.path(linkDir, shortA)), os.Symlink("../../../etc", h.path(linkDir, shortA))); err != nil {
		t.Fatal(err)
	}
	if dirs, err := top.resolveLowers(); !errors.Is(err, fault.Invalid) {
		t.Errorf("%q, %v", dirs, err)
	}
}

func TestNoCountIsWrittenThroughALink(t *testing.T) {
	h, victim := received(t), filepath.Join(t.TempDir(), "passwd")
	if err := errors.Join(os.WriteFile(victim, nil, 0o600), os.Symlink(victim, h.privatePath(refsDir, "base"))); err != nil {
		t.Fatal(err)
	}
	r := refCounts{home: h, counts: map[string]int{"base": 1}, files: map[string]bool{"base": true}}
	r.add("base")
	if raw, err := os.ReadFile(victim); len(raw) > 0 || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
}
