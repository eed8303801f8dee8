package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

// Paths of the package on a host.
const (
	sbin    = "usr/sbin"
	units   = "usr/lib/systemd/system"
	config  = "etc/overlayzfs/snapshotter.toml"
	share   = "usr/share/overlayzfs"
	docs    = "usr/share/doc/overlayzfs"
	plugins = "usr/libexec/docker/cli-plugins"
)

// completions maps a shell to the path of its completion.
var completions = map[string]string{
	"bash": "usr/share/bash-completion/completions/overlayzfs",
	"zsh":  "usr/share/zsh/vendor-completions/_overlayzfs",
	"fish": "usr/share/fish/vendor_completions.d/overlayzfs.fish",
}

// writePackage writes the Debian package of an architecture.
func (r *release) writePackage(arch, stage string, c contents, plugin *tree) error {
	t, err := r.packageTree(c, plugin)
	if err != nil {
		return err
	}
	root := filepath.Join(stage, "root")
	content, err := r.stageTree(t, root)
	if err != nil {
		return err
	}
	info := r.packageInfo(arch)
	info.Contents = content
	info.Scripts = nfpm.Scripts{
		PostInstall: filepath.Join(r.source, "release/scripts/postinst"),
		PreRemove:   filepath.Join(r.source, "release/scripts/prerm"),
		PostRemove:  filepath.Join(r.source, "release/scripts/postrm"),
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.out, fmt.Sprintf("overlayzfs_%s_%s.deb", info.Version, arch)))
	if err != nil {
		return err
	}
	return errors.Join(deb.Default.Package(info, f), f.Close())
}

// packageInfo returns the package's metadata. It depends on no package: the programs
// run without ZFS, and say that it is missing.
func (r *release) packageInfo(arch string) *nfpm.Info {
	return &nfpm.Info{
		Name: "overlayzfs", Arch: arch, Platform: "linux", Version: debVersion(r.version), VersionSchema: "none",
		Section: "admin", Priority: "optional", Maintainer: "The overlayzfs authors <overlayzfs@users.noreply.github.com>",
		Homepage: "https://github.com/overlayzfs/overlayzfs", License: "Apache-2.0", MTime: r.time,
		Description: "container layers on ZFS, for Docker, containerd and Kubernetes\n" +
			"Image and container layers as overlayfs directories on one ZFS dataset: the\n" +
			"managed plugin for Docker up to 27, the snapshotter for containerd and for\n" +
			"Docker from 28 on, and the operator's command, which is also a plugin of\n" +
			"Docker's command line.\n" +
			"Version " + r.version + ", commit " + r.commit + ".",
		Overridables: nfpm.Overridables{
			Recommends: []string{"zfsutils-linux"},
			Suggests:   []string{"docker.io | docker-ce", "containerd | containerd.io"},
			Deb:        nfpm.Deb{Compression: "xz"},
		},
	}
}

// packageTree returns the files that the package installs.
func (r *release) packageTree(c contents, plugin *tree) (*tree, error) {
	t := newTree()
	for _, p := range c.programs {
		if p.name == "overlayzfs-plugin" {
			continue // the engine runs it; the plugin's tree has it
		}
		if err := t.addFile(path.Join(sbin, p.name), 0o755, p.path); err != nil {
			return nil, err
		}
	}
	t.addSymlink(plugins+"/docker-overlayzfs", "/"+sbin+"/overlayzfs")
	t.addTree(share+"/plugin", plugin) // for `docker plugin create`
	return t, errors.Join(r.addUnits(t), addHelp(t, c.help), r.addManualPages(t), r.addSamples(t), r.addDocs(t, c.licences))
}

func (r *release) addUnits(t *tree) error {
	if err := t.addFile(config, 0o644, filepath.Join(r.source, "dist/overlayzfs/snapshotter.toml")); err != nil {
		return err
	}
	const name = "overlayzfs-snapshotter"
	if err := t.addFile(path.Join(units, name+".socket"), 0o644, filepath.Join(r.source, "dist/systemd", name+".socket")); err != nil {
		return err
	}
	unit, err := os.ReadFile(filepath.Join(r.source, "dist/systemd", name+".service"))
	if err != nil {
		return err
	}
	if unit, err = replaceOnce(unit, "/usr/local/bin/", "/"+sbin+"/"); err != nil {
		return fmt.Errorf("%s.service: %w", name, err)
	}
	t.add(path.Join(units, name+".service"), 0o644, unit)
	return nil
}

func addHelp(t, help *tree) error {
	for name, f := range help.files {
		if shell, ok := strings.CutPrefix(name, "completion/overlayzfs."); ok {
			t.add(completions[shell], 0o644, f.data)
			continue
		}
		if err := addManualPage(t, path.Base(name), f.data); err != nil {
			return err
		}
	}
	return nil
}

// addManualPages adds the manual pages that are written by hand.
func (r *release) addManualPages(t *tree) error {
	pages := newTree()
	if err := pages.addDir("", filepath.Join(r.source, "dist/man")); err != nil {
		return err
	}
	for name, f := range pages.files {
		if err := addManualPage(t, name, f.data); err != nil {
			return err
		}
	}
	return nil
}

func addManualPage(t *tree, name string, text []byte) error {
	packed, err := gzipBytes(text)
	t.add("usr/share/man/man8/"+name+".gz", 0o644, packed)
	return err
}

// addSamples adds configuration of other programs, to be merged into theirs.
func (r *release) addSamples(t *tree) error {
	for _, dir := range []string{"containerd", "docker", "grafana", "k3s", "prometheus"} {
		if err := t.addDir(path.Join(share, dir), filepath.Join(r.source, "dist", dir)); err != nil {
			return err
		}
	}
	return nil
}

func (r *release) addDocs(t *tree, licences []byte) error {
	for name, as := range map[string]string{"README.md": "README.md", "CHANGELOG.md": "CHANGELOG.md", "LICENSE": "copyright"} {
		if err := t.addFile(path.Join(docs, as), 0o644, filepath.Join(r.source, name)); err != nil {
			return err
		}
	}
	text, err := gzipBytes(licences)
	if err != nil {
		return err
	}
	t.add(docs+"/licenses.txt.gz", 0o644, text)
	return t.addDir(docs+"/docs", filepath.Join(r.source, "docs"))
}

// stageTree writes a tree to the disk, where nfpm reads it, and returns nfpm's list of
// its files.
func (r *release) stageTree(t *tree, root string) (files.Contents, error) {
	var all files.Contents
	for _, name := range t.paths() {
		f := t.files[name]
		c := &files.Content{Destination: "/" + name, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: f.mode, MTime: r.time}}
		switch {
		case f.link != "":
			c.Type, c.Source = files.TypeSymlink, f.link
		case name == config:
			c.Type = files.TypeConfigNoReplace
		}
		if f.link == "" {
			c.Source = filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(c.Source), 0o755); err != nil {
				return nil, err
			}
			if err := os.WriteFile(c.Source, f.data, f.mode); err != nil {
				return nil, err
			}
		}
		all = append(all, c)
	}
	return all, nil
}
