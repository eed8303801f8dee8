//go:build vm

package mount

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/kerneltest"
)

func openListener(t *testing.T) *TmpfileListener {
	t.Helper()
	l, err := OpenTmpfileListener()
	must(t, err)
	l.timeout = time.Hour // a slow machine is no failure
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeOverlay makes the directories of an overlay and returns its mount.
func makeOverlay(t *testing.T, lowers ...string) Mount {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append([]string{"lower", "upper", "work", "merged"}, lowers...) {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(dir, "lower", "file"), []byte("content"), 0o600))
	m, err := Overlay{Dir: dir, Target: "merged", Lowers: append([]string{"lower"}, lowers...), Upper: "upper", Work: "work"}.Mount()
	must(t, err)
	t.Cleanup(func() { must(t, Unmount(filepath.Join(dir, "merged"))) })
	return m
}

// isCopiedByRename changes a file and reports how overlayfs brought it into the upper
// directory: by a rename, or by the link of an O_TMPFILE file.
func isCopiedByRename(t *testing.T, upper string, change func() error) bool {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, upper, unix.IN_CREATE|unix.IN_MOVED_TO)
	must(t, err)
	must(t, change())
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	must(t, err)
	if n < unix.SizeofInotifyEvent {
		t.Fatalf("an inotify event of %d bytes", n)
	}
	mask := uint32(buf[4]) | uint32(buf[5])<<8 | uint32(buf[6])<<16 | uint32(buf[7])<<24
	return mask&unix.IN_MOVED_TO != 0
}

func openForWriting(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	return errors.Join(err, f.Close())
}

func expectRename(t *testing.T, m Mount, want bool) {
	t.Helper()
	got := isCopiedByRename(t, filepath.Join(m.Dir, "upper"), func() error { return openForWriting(filepath.Join(m.Dir, "merged", "file")) })
	if got != want {
		t.Errorf("copied up by a rename: %t", got)
	}
}

// canListen reports whether the kernel lets a listener refuse opens. Where it does not, the
// overlays of these tests copy up as without a listener, and nothing is refused.
func canListen(t *testing.T) bool { return kerneltest.HasPermissionEvents(t) }

// expectWatch makes sure that a listener watches where the kernel lets it.
func expectWatch(t *testing.T, l *TmpfileListener, work string) {
	t.Helper()
	err := l.Watch(work)
	if canListen(t) {
		must(t, err)
	} else if !errors.Is(err, ErrNoPermissionEvents) {
		t.Errorf("watch without permission events: %v", err)
	}
}

func expectRefusals(t *testing.T, l *TmpfileListener, want uint64) {
	t.Helper()
	if !canListen(t) {
		want = 0
	}
	if got := l.Refusals(); got != want {
		t.Errorf("%d files refused, want %d", got, want)
	}
}

// Without this the other tests prove nothing.
func TestOverlayUsesTmpfileWithoutListener(t *testing.T) {
	m := makeOverlay(t)
	must(t, m.Do())
	expectRename(t, m, false)
}

func TestOverlayMountCopiesUpByRename(t *testing.T) {
	l := openListener(t)
	for range 3 { // the next mount makes "work" anew
		m := makeOverlay(t)
		must(t, l.Mount(m))
		expectRename(t, m, canListen(t))
	}
	expectRefusals(t, l, 3)
}

// A stack that does not fit a page is mounted with other system calls.
func TestOverlayMountOfADeepStackCopiesUpByRename(t *testing.T) {
	l := openListener(t)
	var lowers []string
	for i := range 100 {
		lowers = append(lowers, fmt.Sprintf("lower%0100d", i))
	}
	m := makeOverlay(t, lowers...)
	must(t, l.Mount(m))
	expectRename(t, m, canListen(t))
}

func TestOverlayMountOfAnEndedListenerIsMade(t *testing.T) {
	l, err := OpenTmpfileListener()
	must(t, err)
	must(t, l.Close())
	m := makeOverlay(t)
	must(t, l.Mount(m))
	expectRename(t, m, false)
	if err := l.Watch(m.WorkDir()); err == nil {
		t.Error("an ended listener watches")
	}
}

// A mounter in another mount namespace mounts more than once what it was told to mount.
func TestOverlayMountElsewhereCopiesUpByRename(t *testing.T) {
	l, m := openListener(t), makeOverlay(t)
	expectWatch(t, l, m.WorkDir())
	mountAndChange := func() error {
		out, err := exec.Command("unshare", "-m", "sh", "-ec", `cd "$0"; mount -t overlay overlay -o "$1" merged; : >>merged/file`, m.Dir, m.Data()).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	for range 3 {
		if got := isCopiedByRename(t, filepath.Join(m.Dir, "upper"), mountAndChange); got != canListen(t) {
			t.Errorf("copied up by a rename: %t", got)
		}
		must(t, os.Remove(filepath.Join(m.Dir, "upper", "file")))
	}
	l.Unwatch(m.WorkDir())
	if isCopiedByRename(t, filepath.Join(m.Dir, "upper"), mountAndChange) {
		t.Error("copied up by a rename after the end of the watch")
	}
}

// openTmpfile opens a file like the one that overlayfs tries.
func openTmpfile(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// disturb opens files around and in the directories of overlays until stop is closed.
func disturb(t *testing.T, mounts []Mount, stop chan struct{}) {
	for {
		for _, m := range mounts {
			select {
			case <-stop:
				return
			default:
			}
			upper, work := filepath.Join(m.Dir, "upper"), filepath.Join(m.Dir, "work")
			if err := errors.Join(openTmpfile(m.Dir), openTmpfile(upper), openTmpfile(work)); err != nil {
				t.Error(err)
				return
			}
			if _, err := os.ReadDir(work); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

// Programs that open files, O_TMPFILE files of mode 000 among them, are never refused, not
// even in the directories of overlays that are being mounted.
func TestManyMountsRefuseNobodyElse(t *testing.T) {
	const storm = 1000
	l := openListener(t)
	mounts := make([]Mount, storm)
	for i := range mounts {
		mounts[i] = makeOverlay(t)
		mounts[i].Options = append(mounts[i].Options, Option{Key: "volatile"}) // so that the unmounts sync nothing
	}
	var others, mounters sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		others.Go(func() { disturb(t, mounts[i*storm/4:(i+1)*storm/4], stop) })
	}
	for _, m := range mounts {
		mounters.Go(func() {
			if err := l.Mount(m); err != nil {
				t.Error(err)
			}
		})
	}
	mounters.Wait()
	close(stop)
	others.Wait()
	expectRefusals(t, l, storm)
	expectNothingKept(t, l)
	for i := 0; i < storm; i += 20 {
		expectRename(t, mounts[i], canListen(t))
	}
}

// expectNothingKept makes sure that a listener that watches nothing any more knows no
// directory, and has no mark in the kernel.
func expectNothingKept(t *testing.T, l *TmpfileListener) {
	t.Helper()
	// Opens that were no mount's are pending until their timers fire, in an hour.
	l.pendingLock.Lock()
	pending := slices.Collect(maps.Values(l.threads))
	l.pendingLock.Unlock()
	for _, p := range pending {
		if p.timer.Stop() {
			l.expire(p)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pendingLock.Lock()
	defer l.pendingLock.Unlock()
	if len(l.threads)+len(l.directories)+len(l.paths)+len(l.inodes) > 0 {
		t.Errorf("%d threads and %d directories are pending, %d and %d directories watched", len(l.threads), len(l.directories), len(l.paths), len(l.inodes))
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", l.group))
	must(t, err)
	if marks := strings.Count(string(info), "fanotify ino:"); marks > 0 || !strings.Contains(string(info), "fanotify flags:") {
		t.Errorf("%d marks are left:\n%s", marks, info)
	}
}

// In the one directory where a file may be refused, only the mounting thread's is.
func TestOverlayListenerRefusesOnlyTheThreadThatMounts(t *testing.T) {
	l, m := openListener(t), makeOverlay(t)
	files := filepath.Join(m.WorkDir(), filesName)
	must(t, os.Mkdir(files, 0o700))
	expectWatch(t, l, m.WorkDir())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, err := os.ReadDir(m.WorkDir()) // as a mount does
	must(t, err)
	other := make(chan error)
	go func() { // on another thread, since this one is locked
		fd, err := unix.Open(files, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
		unix.Close(fd)
		other <- errors.Join(err, openTmpfile(files), os.WriteFile(files+"/file", nil, 0))
	}()
	if err := <-other; err != nil {
		t.Errorf("another thread: %v", err)
	}
	fd, err := unix.Open(files, unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	unix.Close(fd)
	if err := errors.Join(err, os.WriteFile(files+"/own", nil, 0)); err != nil {
		t.Errorf("another file: %v", err)
	}
	if err := openTmpfile(files); errors.Is(err, unix.EPERM) != canListen(t) {
		t.Errorf("the file that overlayfs tries: %v", err)
	}
	if err := openTmpfile(files); err != nil {
		t.Errorf("the next one: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.threads) != 0 || len(l.directories) != 0 {
		t.Errorf("%d threads and %d directories are pending", len(l.threads), len(l.directories))
	}
}

// child runs a test of this binary in a process of its own and waits for its line "ready".
func child(t *testing.T, test, work string, cloneflags uintptr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), childWork+"="+work)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneflags, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), "ready") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return cmd
		}
	}
	t.Fatalf("the child ended: %v", lines.Err())
	return nil
}

const childWork = "OVERLAYZFS_TEST_WORK"

// TestListenerChild is a process that listens, and does nothing in the test's own process.
func TestListenerChild(t *testing.T) {
	work := os.Getenv(childWork)
	if work == "" {
		return
	}
	l := openListener(t)
	expectWatch(t, l, work)
	fmt.Println("ready")
	select {}
}

// The threads outside of a listener's PID namespace have no number in it.
func TestOverlayListenerInAPIDNamespace(t *testing.T) {
	m := makeOverlay(t)
	child(t, "TestListenerChild", m.WorkDir(), unix.CLONE_NEWPID)
	must(t, m.Do())
	expectRename(t, m, canListen(t))
}

// A listener that hangs holds up the mount it watches, and nothing once it is killed.
func TestOverlayMountIsReleasedByTheListenersDeath(t *testing.T) {
	m := makeOverlay(t)
	cmd := child(t, "TestListenerChild", m.WorkDir(), 0)
	must(t, cmd.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	must(t, err)
	if !status.Stopped() {
		t.Fatalf("the child is not stopped: %v", status)
	}
	mounted := make(chan error)
	go func() { mounted <- m.Do() }()
	// Everything else on the file system goes on meanwhile.
	must(t, errors.Join(openTmpfile(m.Dir), openTmpfile(filepath.Join(m.Dir, "upper")), os.WriteFile(filepath.Join(m.Dir, "beside"), nil, 0o600)))
	if !canListen(t) { // nobody waits for an answer
		must(t, <-mounted)
		expectRename(t, m, false)
		return
	}
	select {
	case err := <-mounted:
		t.Fatalf("mounted without an answer: %v", err)
	default:
	}
	must(t, cmd.Process.Kill())
	must(t, <-mounted)
	expectRename(t, m, false)
}
