package gc

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/mount"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// Examine reads a store and its engine's records, and decides what would be removed.
// onlyRoot says that no other data-root has layers in a plugin's store.
func Examine(s *inventory.Source, onlyRoot bool) (Plan, error) {
	if s.Docker == nil {
		return examineSnapshots(s)
	}
	inv, err := s.Inventory()
	if err != nil {
		return Plan{}, err
	}
	evidence, err := readEvidence(s)
	if err != nil {
		return Plan{}, err
	}
	evidence.OnlyRoot = onlyRoot
	plan := Decide(inv, evidence)
	mounts, err := mount.ListBelow("/")
	plan.Obstacles = append(plan.Obstacles, findMounted(plan.Layers, mounts)...)
	return plan, err
}

// findMounted reports the layers that are mounted, though nobody has the store open.
// A container that outlived dockerd and its plugin has one.
func findMounted(layers []inventory.Layer, mounts []*mount.Info) (why []string) {
	for _, l := range layers {
		for _, m := range mounts {
			if m.FSType == "overlay" && strings.HasSuffix(m.Mountpoint, "/"+l.ID+"/merged") {
				why = append(why, fmt.Sprintf("layer %s is mounted on %s: stop what uses it, and unmount it", inventory.ShortID(l.ID), m.Mountpoint))
			}
		}
	}
	return why
}

// readEvidence reads Docker's records of every driver, and the tokens that say whose
// records these are.
func readEvidence(s *inventory.Source) (Evidence, error) {
	e := Evidence{Root: s.Docker.Dir(), Driver: s.Where.Driver, Records: []*dockerstore.Records{s.Records}}
	var err error
	if e.Engine, err = s.View.Engine(); err != nil {
		return e, err
	}
	if e.Tokens, err = readTokens(s); err != nil {
		return e, err
	}
	drivers, err := s.Docker.Drivers()
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") { // errors.Join writes one a line
			e.Unreadable = append(e.Unreadable, fault.Printable(line))
		}
	}
	for _, driver := range drivers {
		if driver == s.Where.Driver {
			continue
		}
		records, err := s.Docker.Read(driver)
		if err != nil {
			return e, err
		}
		e.Records = append(e.Records, records)
	}
	return e, nil
}

// readTokens reads the tokens that the plugin keeps in the data-root; nil if it has
// kept none.
func readTokens(s *inventory.Source) ([]string, error) {
	if s.Where.Plugin == nil {
		return nil, nil
	}
	raw, err := s.Docker.ReadPluginFile(*s.Where.Plugin, plugin.StateName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return plugin.Tokens(raw), err
}
