package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// description is the text of config.json that a release replaces by its own.
const description = `Docker storage driver: overlay filesystems on ZFS`

// pluginTree returns the managed plugin, as `docker plugin create` takes it.
func (r *release) pluginTree(c contents) (*tree, error) {
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
	config, err = replaceOnce(config, description, fmt.Sprintf("%s (%s, commit %.12s)", description, r.version, r.commit))
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	t.add("config.json", 0o644, config)
	return t, nil
}

// packImage writes the plugin as an image for registries, by the operator's command.
func (r *release) packImage(ctx context.Context, plugin *tree, stage, arch string) error {
	dir := filepath.Join(stage, arch, "plugin")
	if err := plugin.writeDir(dir); err != nil {
		return err
	}
	_, err := r.runProgram(ctx, helper(stage), "plugin", "pack", filepath.Join(r.out, r.fileName("linux_"+arch+".oci.tar", "plugin")), "--plugin-dir", dir)
	return err
}

// documents go into the archive beside docs/. Other documents are for contributors.
var documents = []string{"README.md", "CHANGELOG.md", "LICENSE"}

// programTree returns the archive of the programs, for installation by hand.
func (r *release) programTree(c contents) (*tree, error) {
	t := newTree()
	for _, p := range c.programs {
		if err := t.addFile("bin/"+p.name, 0o755, p.path); err != nil {
			return nil, err
		}
	}
	t.addTree("", c.help)
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
