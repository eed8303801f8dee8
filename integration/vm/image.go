package vm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// rootImageSize leaves jobs some room on the root disk. The file is sparse.
const rootImageSize = "6G"

// makeImage puts the results of the other steps together: one root disk, the
// kernel, and the initramfs that finds the disk.
func makeImage(ctx context.Context, work *workspace, suite *Suite) error {
	tree := filepath.Join(work.dir, "tree")
	// Hard links: nothing below is written to in place.
	if err := work.command(ctx, "cp", "-al", filepath.Join(work.result(stepRootFS), "root"), tree); err != nil {
		return err
	}
	modules, err := one(filepath.Join(work.result(stepModules), "[0-9]*"))
	if err != nil {
		return err
	}
	if err := addModules(ctx, work, modules, tree); err != nil {
		return err
	}
	if err := addLab(ctx, work, suite, tree); err != nil {
		return err
	}
	if err := addInitramfs(ctx, work, modules, tree); err != nil {
		return err
	}
	if err := work.command(ctx, "cp", filepath.Join(work.result(stepModules), "vmlinuz"), work.dir); err != nil {
		return err
	}
	image := filepath.Join(work.dir, "root.img")
	if err := work.command(ctx, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", "-d", tree, image, rootImageSize); err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

func addModules(ctx context.Context, work *workspace, modules, tree string) error {
	target := filepath.Join(tree, "usr", "lib", "modules")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return work.command(ctx, "cp", "-a", modules, target)
}

// addLab fills /lab, and replaces what mmdebstrap took over from the host.
func addLab(ctx context.Context, work *workspace, suite *Suite, tree string) error {
	for _, dir := range []string{"lab/job", "lab/base"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/hostname":      "lab\n",
		"etc/hosts":         "127.0.0.1 localhost lab\n",
		"etc/resolv.conf":   "",
		"lab/dockerd-flags": strings.Join(suite.Dockerd, "\n") + "\n",
		"lab/suite":         suite.Name + "\n",
	}
	for name, text := range labFiles() {
		files["lab/"+name] = text
	}
	for name, text := range files {
		path := filepath.Join(tree, name)
		// The tree shares its files with the cached step.
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return work.command(ctx, "cp", "-a", work.result(stepBase)+"/.", filepath.Join(tree, "lab", "base"))
}

func addInitramfs(ctx context.Context, work *workspace, modules, tree string) error {
	busybox, err := os.ReadFile(filepath.Join(tree, "usr", "bin", "busybox"))
	if err != nil {
		return err
	}
	shell := initramfsFile{"bin/busybox", busybox}
	files := []initramfsFile{shell, {"init", []byte(guestFile("initramfs-init"))}}
	drivers, err := readDrivers(ctx, modules)
	if err != nil {
		return err
	}
	files = append(files, drivers...)
	if err := writeInitramfs(filepath.Join(work.dir, "initramfs"), files); err != nil {
		return err
	}
	return writeInitramfs(filepath.Join(work.dir, "probe"), []initramfsFile{shell, {"init", []byte(guestFile("probe-init"))}})
}
