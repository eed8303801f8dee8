//go:build vm

package overlayzfs

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestTheIntentLogHasAllOfASmallLayer takes away everything but the intent log. The transaction
// groups of a frozen pool end and are not written, as in OpenZFS's own tests of replay. The
// layers that were answered before have to exist after the import.
func TestTheIntentLogHasAllOfASmallLayer(t *testing.T) {
	for _, xattr := range []string{"sa", "on"} {
		t.Run("xattr="+xattr, func(t *testing.T) { replaySmallLayer(t, xattr) })
	}
}

func replaySmallLayer(t *testing.T, xattr string) {
	f := freezer(t, xattr)
	create(t, f.Driver, "step", "base")
	change(t, f.Driver, "step", func(dir string) {
		writeOfEachKind(t, dir)
		write(t, filepath.Join(dir, "old"), "copied up")
	})
	step := readAll(t, f.Driver, "step", "base")
	f.freeze(t)
	create(t, f.Driver, "image", "base")
	apply(t, f.Driver, "image", "base", step)
	f.replays(t, "image")
}

// TestTheIntentLogHasAllOfASmallStep does the same with files that programs wrote into a mounted
// layer, and whose times they did not set. It changes a lower file only where the kernel does
// not wait for the transaction group then, which a frozen pool does not write.
func TestTheIntentLogHasAllOfASmallStep(t *testing.T) {
	for _, xattr := range []string{"sa", "on"} {
		t.Run("xattr="+xattr, func(t *testing.T) {
			f := freezer(t, xattr)
			f.freeze(t)
			create(t, f.Driver, "step", "base")
			change(t, f.Driver, "step", func(dir string) {
				writeOfEachKind(t, dir)
				if f.copyUp.Waits == nil {
					write(t, filepath.Join(dir, "below"), "copied up")
				}
			})
			f.replays(t, "step")
		})
	}
}

// TestALargeStepWaitsForTheGroup makes sure that above maxLoggedTimes no times are logged.
func TestALargeStepWaitsForTheGroup(t *testing.T) {
	d := openStore(t)
	create(t, d, "step", "")
	change(t, d, "step", func(dir string) {
		for n := range maxLoggedTimes {
			write(t, filepath.Join(dir, fmt.Sprint(n)), "")
		}
	})
	l := d.home.layer("step")
	must(t, rewriteTimes(context.Background(), l.diff()))
	write(t, filepath.Join(l.diff(), "one", "more"), "")
	if err := rewriteTimes(context.Background(), l.diff()); !errors.Is(err, errTooManyFiles) {
		t.Errorf("of %d files: %v", maxLoggedTimes+2, err)
	}
}

// frozen is a store on a pool of its own.
type frozen struct {
	*Driver
	tmpfs string
}

// freezer is a store with a layer "base", on a pool that can be frozen.
func freezer(t *testing.T, xattr string) *frozen {
	t.Helper()
	tmpfs := filePool(t, roomy, "vdev")
	zfsCommand(t, "set", "xattr="+xattr, faultPool)
	d := faultStore(t, "layers")
	change(t, d, "base", func(dir string) {
		for _, name := range []string{"gone", "dir/a", "dir/b", "again/old", "below"} {
			write(t, filepath.Join(dir, name), name)
		}
		giveAttributes(t, filepath.Join(dir, "below"))
	})
	if !d.isContentLogged() || !d.readIntentLog().trusted {
		t.Fatal("a new pool's intent log is said to lack something")
	}
	return &frozen{d, tmpfs}
}

// giveAttributes gives a file what a copy-up has to keep.
func giveAttributes(t *testing.T, file string) {
	t.Helper()
	must(t, errors.Join(
		os.Chown(file, 12, 34),
		os.Chmod(file, 0o640|os.ModeSetgid),
		unix.Setxattr(file, "user.kept", []byte("value"), 0),
		os.Chtimes(file, time.Unix(1e9, 0), time.Unix(1e9, 0)),
	))
}

func (f *frozen) freeze(t *testing.T) {
	t.Helper()
	must(t, f.WaitTxg(context.Background()))
	zpoolCommand(t, "freeze", faultPool)
}

// replays brings a layer back from the log, and compares it.
func (f *frozen) replays(t *testing.T, id string) {
	t.Helper()
	want := readAll(t, f.Driver, id, "base")
	closeStore(t, f.Driver)
	zpoolCommand(t, "export", faultPool)
	zpoolCommand(t, "import", "-d", f.tmpfs, "-o", "cachefile=none", faultPool)

	o := testOptions
	o.Dataset = faultPool + "/layers"
	d := openStoreIn(t, string(f.home), o)
	if diff := cmp.Diff(entries(t, want), entries(t, readAll(t, d, id, "base"))); diff != "" {
		t.Errorf("what was there is not there any more: %s", diff)
	}
}

// TestALogThatWillNotBeReplayedIsNotTrusted switches the replay off under an open store, as an
// administrator can.
func TestALogThatWillNotBeReplayedIsNotTrusted(t *testing.T) {
	d := openStore(t)
	for _, name := range []string{"zil_replay_disable", "zil_nocacheflush"} {
		if !d.readIntentLog().trusted {
			t.Fatalf("not trusted before %s is set", name)
		}
		path := "/sys/module/zfs/parameters/" + name
		must(t, os.WriteFile(path, []byte("1"), 0))
		got := d.readIntentLog()
		must(t, os.WriteFile(path, []byte("0"), 0))
		if got.trusted || !got.used {
			t.Errorf("with %s: %+v", name, got)
		}
	}
}

// entries returns a tar's entries, each with its header and a checksum of its content.
func entries(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return found
		}
		must(t, err)
		content := sha256.New()
		_, err = io.Copy(content, r)
		must(t, err)
		found[h.Name] = fmt.Sprintf("%c %o %d:%d %d %s %d,%d %v %q %x", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Linkname,
			h.Devmajor, h.Devminor, h.ModTime, h.PAXRecords, content.Sum(nil))
	}
}

// writeOfEachKind changes a directory in every way that leaves a different trace on disk.
func writeOfEachKind(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("new/deep/file"), "content")
	write(t, at("new/large"), string(bytes.Repeat([]byte("large "), 100_000)))
	write(t, at("new/empty"), "")
	writeMapped(t, at("new/mapped"))
	must(t, os.Symlink("large", at("new/symlink")))
	must(t, os.Link(at("new/large"), at("new/link")))
	must(t, unix.Mkfifo(at("new/fifo"), 0o600))
	must(t, unix.Mknod(at("new/device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	must(t, os.Chmod(at("new/deep"), 0o711))
	must(t, os.Chown(at("new/deep/file"), 12, 34))
	must(t, unix.Setxattr(at("new/deep/file"), "user.note", []byte("value"), 0))
	capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	must(t, unix.Setxattr(at("new/large"), "security.capability", capability, 0))
	must(t, os.Rename(at("new/empty"), at("new/renamed")))
	must(t, os.Remove(at("gone")))
	must(t, os.RemoveAll(at("dir")))
	must(t, os.RemoveAll(at("again")))
	write(t, at("again/fresh"), "in an opaque directory")
}
