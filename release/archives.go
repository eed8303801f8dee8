package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// description is config.json's, in which a release says what it is.
const description = `Docker storage driver: overlay filesystems on ZFS`

// plugin is the managed plugin, as `docker plugin create` wants it.
func (r *release) plugin(c contents) (*tree, error) {
	t := newTree()
	for _, p := range c.programs {
		if p.name == "overlayzfs-plugin" {
			if err := t.addFile("rootfs/"+p.name, 0o755, p.path); err != nil {
				return nil, err
			}
		}
	}
	config, err := os.ReadFile(filepath.Join(r.source, "config.json"))
	if err != nil {
		return nil, err
	}
	config, err = once(config, description, fmt.Sprintf("%s (%s, commit %.12s)", description, r.version, r.commit))
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	t.add("config.json", 0o644, config)
	return t, nil
}

// documents are those that go with the programs; the rest of the documentation
// is for who changes them.
var documents = []string{"README.md", "CHANGELOG.md", "LICENSE"}

// programs is the archive for those who install by hand.
func (r *release) programs(c contents) (*tree, error) {
	t := newTree()
	for _, p := range c.programs {
		if err := t.addFile("bin/"+p.name, 0o755, p.path); err != nil {
			return nil, err
		}
	}
	t.graft("", c.help)
	t.add("licenses.txt", 0o644, c.licences)
	for _, name := range documents {
		if err := t.addFile(name, 0o644, filepath.Join(r.source, name)); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{"dist", "docs"} {
		if err := t.addDir(dir, filepath.Join(r.source, dir)); err != nil {
			return nil, err
		}
	}
	return t, nil
}
