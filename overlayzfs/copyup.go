package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// CopyUp describes the first change of a file in a container: overlayfs copies the file up.
type CopyUp struct {
	Took time.Duration // as the start measured it; zero when that says nothing of new mounts
	// Waits is why each copy-up waits for a transaction group unless sync=disabled. It is nil
	// when none waits.
	Waits error
	// breaksLog says that a copy-up leaves the intent log in a state whose replay fails.
	breaksLog bool
}

// probeCopyUp keeps overlays from the kind of copy-up that waits for a transaction group,
// if that is possible here, and measures one copy-up. A failure, for example on a full
// dataset, does not keep the store closed.
func (d *Driver) probeCopyUp(ctx context.Context) {
	d.tmpfiles, d.copyUp.Waits = d.openTmpfileListener()
	took, err := d.timeCopyUp(ctx)
	if err != nil {
		logrus.WithError(err).Info("cannot measure the cost of a copy-up")
		return
	}
	d.copyUp.Took = took
	if d.copyUp.breaksLog {
		logrus.Warn("this process lacks CAP_DAC_READ_SEARCH, so overlayfs gives each file that it copies up an empty attribute, at which OpenZFS ends the replay of the intent log: barriers wait for transaction groups, and a power cut may take what containers fsynced in the last seconds; give the process that capability (docker plugin upgrade)")
	}
	if d.tmpfiles == nil || d.tmpfiles.Refusals() > 0 {
		return
	}
	d.copyUp.Waits = mount.ErrTmpfileNotAsked
	d.closeTmpfileListener()
}

// describeCopyUp returns how files are copied up in mounts that are made now. A listener that
// ended on an error keeps none of them from waiting, and what the start measured is not true
// of them.
func (d *Driver) describeCopyUp() CopyUp {
	c := d.copyUp
	if err := d.tmpfiles.Err(); err != nil {
		c.Took, c.Waits = 0, fmt.Errorf("%w; restart the driver", err)
	}
	return c
}

// openTmpfileListener returns why copy-ups have to wait, or a listener.
func (d *Driver) openTmpfileListener() (*mount.TmpfileListener, error) {
	if err := d.requireLoggedCopyUps(); err != nil {
		return nil, err
	}
	l, err := mount.OpenTmpfileListener()
	if err != nil {
		return nil, err
	}
	// A kernel without permission events refuses the first watch.
	work := d.home.privatePath(newDir)
	if err := l.Watch(work); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.Unwatch(work)
	return l, nil
}

func (d *Driver) closeTmpfileListener() {
	if err := d.tmpfiles.Close(); err != nil {
		logrus.WithError(err).Warn("close the fanotify listener")
	}
	d.tmpfiles = nil
}

// requireLoggedCopyUps makes sure that the intent log has a copied file's attributes when
// it has the rename. A power cut could take them otherwise, file capabilities for example.
func (d *Driver) requireLoggedCopyUps() error {
	if !d.isContentLogged() {
		return fmt.Errorf("the pool's intent log lacks extended attributes; `zpool upgrade %s` adds the feature zilsaxattr", d.pool())
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil {
		return err
	}
	if !stats.HasXattrSA() {
		return fmt.Errorf("extended attributes are hidden directories, which the intent log orders otherwise; run `zfs set xattr=sa %s`", d.dataset)
	}
	return nil
}

// timeCopyUp mounts two small directories in staging, which the next start clears.
func (d *Driver) timeCopyUp(ctx context.Context) (took time.Duration, err error) {
	dir := d.home.privatePath(newDir, "copy-up-"+NewShortName())
	defer func() { err = errors.Join(err, removeTree(dir)) }()
	for _, sub := range []string{"lower", "upper", "work", mergedName} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return 0, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lower", "file"), make([]byte, 4096), 0o600); err != nil {
		return 0, err
	}
	m, err := mount.Overlay{Dir: dir, Target: mergedName, Lowers: []string{"lower"}, Upper: "upper", Work: "work", Off: d.disabledFeatures}.Mount()
	if err != nil {
		return 0, err
	}
	// A copy-up of a file that is not on disk yet waits, whatever sync is.
	if err := d.waitTxg(ctx); err != nil {
		return 0, err
	}
	if err := d.tmpfiles.Mount(m); err != nil {
		return 0, err
	}
	took, err = timeOpen(filepath.Join(dir, mergedName, "file"))
	d.copyUp.breaksLog = !d.externalMounts && hasEmptyOrigin(filepath.Join(dir, "upper", "file"))
	return took, errors.Join(err, mount.Unmount(filepath.Join(dir, mergedName)))
}

// hasEmptyOrigin reports whether overlayfs could not say of which file another one is the copy.
// It says so by an empty attribute if the mounter lacks CAP_DAC_READ_SEARCH. OpenZFS logs the
// attribute, takes it for a removal in the replay, fails, and replays nothing behind it.
func hasEmptyOrigin(path string) bool {
	n, err := unix.Lgetxattr(path, overlayfs.OriginXattr, nil)
	return err == nil && n == 0
}

// timeOpen opens a file for writing, which copies it up.
func timeOpen(path string) (time.Duration, error) {
	begin := time.Now()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("copy up: %w", err)
	}
	return took, f.Close()
}

// setSync sets the dataset's sync property to the administrator's choice. The property
// belongs to everything on the dataset, so setSync refuses a dataset that the store shares.
func (d *Driver) setSync(choice string) error {
	if choice == "" {
		return nil
	}
	if d.zfs == nil {
		return fault.New(fault.Unsupported, "overlayzfs.sync=%s needs /dev/zfs; run `zfs set sync=%s %s` and remove the option", choice, choice, d.dataset)
	}
	holding, err := mount.FindByPath(string(d.home))
	if err != nil {
		return err
	}
	if holding.Mountpoint != string(d.home) || holding.Root != "/" {
		return fault.New(fault.Invalid, "overlayzfs.sync=%s would change all of dataset %s, and the store %s is only a directory on it; give the driver its own dataset (overlayzfs.dataset=POOL/NAME), or set the property yourself", choice, d.dataset, d.home)
	}
	stats, err := d.zfs.DatasetStats(d.dataset)
	if err != nil || stats.Sync() == choice {
		return err
	}
	logrus.WithFields(logrus.Fields{"dataset": d.dataset, "from": stats.Sync(), "to": choice}).Warn("the option overlayzfs.sync changes the dataset's sync property")
	return d.zfs.SetProperty(d.dataset, zfs.Properties{"sync": zfs.String(choice)})
}

// String says what the first change of a file costs, and whether it waits.
func (c CopyUp) String() string {
	text := "not measured"
	if c.Took > 0 {
		text = c.Took.Round(10 * time.Microsecond).String()
	}
	return text + " for a file's first change in a container"
}

// syncAdvice says what the dataset's sync property costs here, and what the other choice
// would risk.
func (c CopyUp) syncAdvice(sync string) string {
	const loss = "a power cut %stakes up to the last 5 s of what containers wrote, fsync or not (images are safe)"
	switch {
	case sync == "disabled" && c.Waits == nil:
		return c.String() + "; " + fmt.Sprintf(loss, "") + "; sync=standard keeps what was fsynced, copy-ups do not wait for a transaction group either, and builds and removals are faster"
	case sync == "disabled":
		return fmt.Sprintf("%s; "+loss+"; sync=standard keeps what was fsynced and waits for a transaction group at each such change (%v)", c, "", c.Waits)
	case c.Waits == nil:
		return c.String() + ", which does not wait for a transaction group"
	default:
		return fmt.Sprintf("%s, which waits for a transaction group (%v); overlayzfs.sync=disabled does not wait, and "+loss, c, c.Waits, "then ")
	}
}
