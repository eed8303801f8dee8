package migrate

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// overlay2Dir is overlay2's directory in the data-root.
const overlay2Dir = "overlay2"

// stagingDir holds a layer of overlay2 until it is complete.
const stagingDir = workDir + "/new"

// maxOverlay2Lowers is the number of layers that overlay2 stacks (maxDepth in overlay.go).
const maxOverlay2Lowers = 128

// overlay2Store is a Store in the layout of moby's overlay2 driver, for the way back. A
// layer is created in stagingDir, filled, synced and renamed into place.
type overlay2Store struct {
	root *dataRoot
}

// makeDirs creates the directories that the driver creates at its start.
func (s overlay2Store) makeDirs() error {
	for _, dir := range []string{overlay2Dir, overlay2Dir + "/l", stagingDir} {
		mode := fs.FileMode(0o700)
		if dir == overlay2Dir {
			mode = 0o710
		}
		if err := s.root.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// Create creates a layer in stagingDir.
func (s overlay2Store) Create(_ context.Context, id, parent string, o overlayzfs.CreateOptions) error {
	if len(o.StorageOpt) > 0 {
		return fault.New(fault.Unsupported, "overlay2 on ZFS cannot enforce a limit")
	}
	stage := path.Join(stagingDir, id)
	if err := s.root.RemoveAll(stage); err != nil {
		return err
	}
	err := errors.Join(s.root.Mkdir(stage, 0o710), s.root.Mkdir(stage+"/diff", 0o755), s.root.WriteFile(stage+"/link", []byte(overlayzfs.NewShortName()), 0o644))
	if err != nil || parent == "" {
		return err
	}
	lowers, err := s.listLowers(parent)
	if err != nil {
		return err
	}
	return errors.Join(
		s.root.WriteFile(stage+"/lower", []byte(strings.Join(lowers, ":")), 0o666), s.root.Mkdir(stage+"/work", 0o700),
		s.root.WriteFile(path.Join(overlay2Dir, parent, "committed"), nil, 0o600),
	)
}

// listLowers returns the lower directories of a child of parent, as its file lower has them.
func (s overlay2Store) listLowers(parent string) ([]string, error) {
	short, err := s.root.ReadFile(path.Join(overlay2Dir, parent, "link"))
	if err != nil {
		return nil, err
	}
	lowers := []string{"l/" + string(short)}
	below, err := s.root.ReadFile(path.Join(overlay2Dir, parent, "lower"))
	if err == nil {
		lowers = append(lowers, strings.Split(string(below), ":")...)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return lowers, err
}

// Fill writes the content of a new layer and puts it in place.
func (s overlay2Store) Fill(ctx context.Context, id string, write func(dir *os.File) error) error {
	stage := path.Join(stagingDir, id)
	dir, err := s.root.Open(stage + "/diff")
	if err != nil {
		return err
	}
	if err := errors.Join(write(dir), fsat.SyncFileSystem(int(dir.Fd())), dir.Close()); err != nil {
		return err
	}
	if err := s.root.syncStorage(ctx); err != nil {
		return err
	}
	short, err := s.root.ReadFile(stage + "/link")
	if err != nil {
		return err
	}
	if err := s.root.Symlink(path.Join("..", id, "diff"), path.Join(overlay2Dir, "l", string(short))); err != nil {
		return err
	}
	return s.root.renameDurably(stage, path.Join(overlay2Dir, id))
}

// Remove removes a layer. The short link is removed first, so that none dangles.
func (s overlay2Store) Remove(ctx context.Context, id string) error {
	dir := path.Join(overlay2Dir, id)
	short, err := s.root.ReadFile(dir + "/link")
	if err == nil {
		err = s.root.Remove(path.Join(overlay2Dir, "l", path.Base(string(short))))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return dirSource{root: s.root, driver: overlay2Dir}.removeDir(ctx, dir)
}

// Layers lists the layers.
func (s overlay2Store) Layers(context.Context) ([]string, error) {
	names, err := s.root.listNames(overlay2Dir)
	var ids []string
	for _, name := range names {
		if name != "l" && name != ".overlayzfs" {
			ids = append(ids, name)
		}
	}
	return ids, err
}

// WaitReaper removes incomplete layers.
func (s overlay2Store) WaitReaper(context.Context) error { return s.root.RemoveAll(stagingDir) }
