package layers

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Step does in a mounted layer what the step of a build does: it makes files and
// changes and deletes those of the layers below.
func Step(seed uint64, dir string) error {
	s := &step{Rand: Random(seed), dir: dir}
	if err := s.look(); err != nil {
		return err
	}
	for _, do := range []func() error{s.add, s.change, s.remove, s.replaceDir, s.rename} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

type step struct {
	*rand.Rand
	dir         string
	files, dirs []string // of the layers below
}

func (s *step) look() error {
	return filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != s.dir:
			s.dirs = append(s.dirs, path)
		case entry.Type().IsRegular():
			s.files = append(s.files, path)
		}
		return nil
	})
}

func (s *step) add() error {
	dir := filepath.Join(s.dir, fmt.Sprintf("new%d", s.IntN(1000)))
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for range 2 + s.IntN(8) {
		path := filepath.Join(dir, fmt.Sprintf("n%d", s.IntN(1e9)))
		if err := os.WriteFile(path, Content(s.Rand, size(s.Rand)), 0o640); err != nil {
			return err
		}
		var err error
		switch s.IntN(8) {
		case 0:
			err = os.Link(path, path+"-hard")
		case 1:
			err = os.Symlink(filepath.Base(path), path+"-soft")
		case 2:
			err = unix.Setxattr(path, "user.step", []byte("attribute"), 0)
		case 3:
			err = os.Chown(path, 1000, 50)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// draw takes one of the files below out of the list.
func (s *step) draw() (string, bool) {
	if len(s.files) == 0 {
		return "", false
	}
	i := s.IntN(len(s.files))
	path := s.files[i]
	s.files = append(s.files[:i], s.files[i+1:]...)
	return path, true
}

// change makes the kernel copy a file up. One is enough: each waits for a
// transaction group.
func (s *step) change() error {
	path, ok := s.draw()
	if !ok {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "changed %x\n", s.Uint64())
	return errors.Join(err, f.Close())
}

func (s *step) remove() error {
	for range s.IntN(3) {
		if path, ok := s.draw(); ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceDir makes an opaque directory now and then.
func (s *step) replaceDir() error {
	if len(s.dirs) == 0 || s.IntN(4) > 0 {
		return nil
	}
	dir := s.dirs[s.IntN(len(s.dirs))]
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	s.files = nil
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "alone"), Content(s.Rand, 3000), 0o600)
}

func (s *step) rename() error {
	if s.IntN(3) > 0 {
		return nil
	}
	path, ok := s.draw()
	if !ok {
		return nil
	}
	return os.Rename(path, path+"-moved")
}
