package inventory

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
	"github.com/overlayzfs/overlayzfs/operator/containerdstore"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// openContainerd opens the root of the containerd that uses the store, and reads all
// records.
func (s *Source) openContainerd() (err error) {
	if dir := s.Where.ContainerdRoot; dir != "" {
		s.Root, err = containerdstore.Open(dir)
	} else {
		s.Root, err = containerdstore.Find(containerdstore.Candidates(containerdconf.DefaultFile, s.Where.Root), s.Where.Driver)
	}
	notFound := errors.Is(err, fault.NotFound)
	if err != nil && !notFound {
		return err
	}
	if rereadErr := s.rereadContainerd(); rereadErr != nil {
		return rereadErr
	}
	if notFound && len(s.Containerd.Backend) > 0 {
		return err // somebody made these snapshots
	}
	return nil
}

// rereadContainerd reads the records of containerd, then the snapshotter's: it has a
// snapshot's record before containerd has it, and longer.
func (s *Source) rereadContainerd() (err error) {
	c := &Containerd{Records: &containerdstore.Records{Snapshotter: s.Where.Driver}}
	if s.Root != nil {
		if c.Records, err = s.Root.Read(s.Where.Driver); err != nil {
			return err
		}
	}
	if c.Containers, c.Damaged, err = s.readDockersContainers(); err != nil {
		return err
	}
	if c.Backend, err = s.readBackend(); err != nil {
		return fmt.Errorf("the snapshotter's records on %s: %w", s.Dataset, err)
	}
	s.Containerd, s.records = c, FromContainerd(*c)
	return nil
}

// readBackend reads the snapshotter's records, which a new store lacks.
func (s *Source) readBackend() ([]containerdstore.Backend, error) {
	f, err := s.View.OpenRecords(containerdstore.Door, containerdstore.BackendFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records, err := containerdstore.ReadBackend(f)
	return records, errors.Join(err, f.Close())
}

// readDockersContainers reads the containers of a dockerd that keeps its images in
// containerd. A host with containerd alone has none.
func (s *Source) readDockersContainers() ([]dockerstore.Container, []dockerstore.Damage, error) {
	docker, err := dockerstore.Open(s.Where.Root)
	if errors.Is(err, fault.NotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	containers, damaged, err := docker.Containers(s.Where.Driver)
	return containers, damaged, errors.Join(err, docker.Close())
}
