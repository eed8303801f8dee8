package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/gc"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// decide makes the plan of gc as things are now.
func (f *gcFlags) decide(s *shelf) (gc.Plan, error) {
	inv, err := s.inventory()
	if err != nil {
		return gc.Plan{}, err
	}
	evidence, err := s.evidence()
	if err != nil {
		return gc.Plan{}, err
	}
	evidence.OnlyRoot = f.onlyRoot
	plan := gc.Decide(inv, evidence)
	mounted, err := mountedNow(plan.Layers)
	plan.Obstacles = append(plan.Obstacles, mounted...)
	return plan, err
}

// mountedNow says which of these layers somebody has mounted, though nobody has
// the store open: a container that outlived dockerd and its plugin.
func mountedNow(layers []inventory.Layer) ([]string, error) {
	mounts, err := mount.ListBelow("/")
	return mountsOf(layers, mounts), err
}

func mountsOf(layers []inventory.Layer, mounts []*mount.Info) (why []string) {
	for _, l := range layers {
		for _, m := range mounts {
			if m.FSType == "overlay" && strings.HasSuffix(m.Mountpoint, "/"+l.ID+"/merged") {
				why = append(why, fmt.Sprintf("layer %s is mounted on %s: stop what uses it, and unmount it", inventory.ShortID(l.ID), m.Mountpoint))
			}
		}
	}
	return why
}

// evidence is all that Docker has recorded, under whichever driver, and whose
// records these are.
func (s *shelf) evidence() (gc.Evidence, error) {
	e := gc.Evidence{Root: s.docker.Dir(), Driver: s.host.Driver, Records: []*dockerstore.Records{s.records}}
	var err error
	if e.Engine, err = s.view.Engine(); err != nil {
		return e, err
	}
	if e.Tokens, err = s.tokens(); err != nil {
		return e, err
	}
	drivers, err := s.docker.Drivers()
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") { // they are joined
			e.Unreadable = append(e.Unreadable, fault.Printable(line))
		}
	}
	for _, driver := range drivers {
		if driver == s.host.Driver {
			continue
		}
		records, err := s.docker.Read(driver)
		if err != nil {
			return e, err
		}
		e.Records = append(e.Records, records)
	}
	return e, nil
}

// tokens are those that the plugin keeps in the data-root; none where it has kept
// nothing.
func (s *shelf) tokens() ([]string, error) {
	if s.host.Plugin == nil {
		return nil, nil
	}
	raw, err := s.docker.ReadPluginFile(*s.host.Plugin, plugin.StateName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return plugin.Tokens(raw), err
}
