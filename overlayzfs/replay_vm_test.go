//go:build vm

package overlayzfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// archiveWithEmptyXattr returns the tar of a layer with two entries that have an attribute
// without a value.
func archiveWithEmptyXattr(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "dir/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "dir/file", Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		h.PAXRecords = map[string]string{"SCHILY.xattr.user.empty": ""}
		must(t, w.WriteHeader(&h))
	}
	must(t, w.Close())
	return buf.Bytes()
}

// TestTheReplayGoesOnBehindAnEmptyXattr makes sure that a layer with attributes that OpenZFS
// cannot replay takes no later layer with it.
func TestTheReplayGoesOnBehindAnEmptyXattr(t *testing.T) {
	f := freezer(t, "sa")
	f.freeze(t)
	create(t, f.Driver, "odd", "base")
	apply(t, f.Driver, "odd", "base", archiveWithEmptyXattr(t))
	create(t, f.Driver, "image", "base")
	apply(t, f.Driver, "image", "base", archive(t, "file"))
	f.replays(t, "image")
}

// TestTheReplayGoesOnBehindAnImmutableFile makes sure of the same where a removed layer had a file
// and a directory that nobody may change (chattr +i, +a).
func TestTheReplayGoesOnBehindAnImmutableFile(t *testing.T) {
	f := freezer(t, "sa")
	create(t, f.Driver, "odd", "base")
	change(t, f.Driver, "odd", func(dir string) {
		write(t, filepath.Join(dir, "fixed/file"), "content")
		write(t, filepath.Join(dir, "growing/file"), "content")
	})
	diff := f.home.layer("odd").diff()
	for _, args := range [][]string{
		{"+i", diff + "/fixed/file", diff + "/fixed"},
		{"+a", diff + "/growing/file", diff + "/growing"},
	} {
		if out, err := exec.Command("chattr", args...).CombinedOutput(); err != nil {
			t.Fatalf("chattr: %v: %s", err, out)
		}
	}
	f.freeze(t)
	remove(t, f.Driver, "odd")
	must(t, f.WaitReaper(t.Context()))
	create(t, f.Driver, "image", "base")
	apply(t, f.Driver, "image", "base", archive(t, "file"))
	f.replays(t, "image")
}

// TestAnEmptyXattrWaitsForTheGroup makes sure that a layer with such an attribute, which the
// intent log does not have, is committed by the transaction group.
func TestAnEmptyXattrWaitsForTheGroup(t *testing.T) {
	setParam(t, "zfs_txg_timeout", "3600")
	d := openStore(t)
	create(t, d, "plain", "")
	create(t, d, "odd", "")
	must(t, d.waitTxg(t.Context()))
	before := syncedTxg(t, d.pool())
	apply(t, d, "plain", "", archive(t, "file")) // by the intent log
	apply(t, d, "odd", "", archiveWithEmptyXattr(t))
	if after := syncedTxg(t, d.pool()); after == before {
		t.Error("the layer is answered for before its transaction group is on disk")
	}
	l := d.home.layer("odd")
	if n, err := unix.Lgetxattr(filepath.Join(l.diff(), "dir/file"), "user.empty", nil); n != 0 || err != nil {
		t.Errorf("the attribute has %d bytes, %v", n, err)
	}
	for _, dir := range []string{l.diff(), filepath.Join(l.diff(), "dir")} { // with it below, and on the directory itself
		if err := rewriteTimes(context.Background(), dir); !errors.Is(err, errEmptyXattr) {
			t.Errorf("a build step with such an attribute: %v", err)
		}
	}
	must(t, rewriteTimes(context.Background(), d.home.layer("plain").diff()))
}

// TestTheLogIsNotTrustedWithoutOrigins runs itself without CAP_DAC_READ_SEARCH, as a plugin that
// was installed before it asked for that. Overlayfs then gives each copy an empty attribute.
func TestTheLogIsNotTrustedWithoutOrigins(t *testing.T) {
	const again = "OVERLAYZFS_TEST_WITHOUT_ORIGINS"
	if os.Getenv(again) == "" {
		if d := openStore(t); d.copyUp.breaksLog || !d.readIntentLog().trusted {
			t.Errorf("with the capability: %+v", d.copyUp)
		}
		cmd := exec.Command("setpriv", "--bounding-set=-dac_read_search", os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), again+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	d := openStore(t)
	if log := d.readIntentLog(); !d.copyUp.breaksLog || !log.used || log.trusted {
		t.Errorf("without the capability: %+v, %+v", d.copyUp, log)
	}
}
