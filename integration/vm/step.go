package vm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// step is one resumable part of a build. Its result is a directory in the
// cache, which appears whole or not at all.
type step struct {
	name  string
	title string
	// inputs is all that the result depends on, but for the steps it needs.
	inputs any
	needs  []*step
	// scratch marks a result that only other steps want; it is removed once
	// the build has succeeded.
	scratch bool
	run     func(ctx context.Context, work *workspace) error
}

// key names the result: it changes when the step's own inputs change, or those
// of a step it needs.
func (s *step) key() string {
	hash := sha256.New()
	encoder := json.NewEncoder(hash)
	// Strings, numbers and structures of them: encoding cannot fail.
	_ = encoder.Encode(s.name)
	_ = encoder.Encode(s.inputs)
	for _, need := range s.needs {
		_ = encoder.Encode(need.key())
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// workspace is what a running step may touch.
type workspace struct {
	// dir becomes the step's result.
	dir   string
	cache string
	log   io.Writer
}

// result is the directory of a finished step.
func (w *workspace) result(need string) string { return filepath.Join(w.cache, need) }

// command runs a host program with its output in the step's log.
func (w *workspace) command(ctx context.Context, name string, args ...string) error {
	fmt.Fprintln(w.log, "+", name, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = w.log, w.log
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
		"PATH="+os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

const keyFile = ".key"

// current tells whether the cache holds the step's result.
func (s *step) current(cache string) bool {
	key, err := os.ReadFile(filepath.Join(cache, s.name, keyFile))
	return err == nil && string(key) == s.key()
}

// pending lists the steps to run for target, each after those it needs. A
// current step's own needs are not looked at: they may have been cleaned up.
func pending(cache string, target *step) []*step {
	var order []*step
	seen := map[*step]bool{}
	var visit func(*step)
	visit = func(s *step) {
		if seen[s] || s.current(cache) {
			return
		}
		seen[s] = true
		for _, need := range s.needs {
			visit(need)
		}
		order = append(order, s)
	}
	visit(target)
	return order
}

// runSteps runs what is pending for target. An interrupted step leaves only a
// temporary directory, which the next attempt removes.
func runSteps(ctx context.Context, cache string, target *step, progress *progress) error {
	steps := pending(cache, target)
	for i, s := range steps {
		task, err := progress.start(fmt.Sprintf("[%d/%d] %s", i+1, len(steps), s.title), filepath.Join(cache, "logs", s.name+".log"))
		if err != nil {
			return err
		}
		err = s.build(ctx, cache, task)
		task.finish(err)
		if err != nil {
			return fmt.Errorf("building the guest: %s: %w", s.title, err)
		}
	}
	return removeScratch(cache, target)
}

// removeScratch removes what nothing needs once s is finished, be it of this
// attempt or of an interrupted one.
func removeScratch(cache string, s *step) error {
	for _, need := range s.needs {
		if err := removeScratch(cache, need); err != nil {
			return err
		}
		if need.scratch {
			if err := os.RemoveAll(filepath.Join(cache, need.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *step) build(ctx context.Context, cache string, log io.Writer) error {
	final := filepath.Join(cache, s.name)
	work := &workspace{dir: final + ".tmp", cache: cache, log: log}
	if err := os.RemoveAll(work.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(work.dir, 0o755); err != nil {
		return err
	}
	if err := s.run(ctx, work); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work.dir, keyFile), []byte(s.key()), 0o644); err != nil {
		return err
	}
	// An older result goes only now: machines may be booted from it.
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	return os.Rename(work.dir, final)
}

// lock waits until no other process builds in the cache directory.
func lock(cache string, waiting func()) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		waiting()
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return func() { file.Close() }, nil
}
