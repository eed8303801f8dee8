package vm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// rootImageSize leaves jobs some room on the root disk. The file is sparse.
const rootImageSize = "6G"

// makeImage makes the root disk of the guest's packages and the lab's programs.
func makeImage(ctx context.Context, work *workspace, suite *Suite) error {
	tree := filepath.Join(work.dir, "tree")
	// Hard links: nothing below is written to in place.
	if err := work.command(ctx, "cp", "-al", filepath.Join(work.result(stepRootFS), "root"), tree); err != nil {
		return err
	}
	// A stock kernel's modules are mounted here, from a disk of their own.
	if err := os.MkdirAll(filepath.Join(tree, "usr", "lib", "modules"), 0o755); err != nil {
		return err
	}
	if err := addLab(ctx, work, suite, tree); err != nil {
		return err
	}
	if err := makeDisk(ctx, work, tree, "root.img", rootImageSize); err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

// makeDisk makes an ext4 of a directory.
func makeDisk(ctx context.Context, work *workspace, tree, name, size string) error {
	return work.command(ctx, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", "-d", tree, filepath.Join(work.dir, name), size)
}

// modulesImageSize holds a kernel's modules. The file is sparse.
const modulesImageSize = "512M"

// makeKernel makes what boots a stock kernel: itself, the initramfs that finds
// the root disk, and the disk with its modules.
func makeKernel(ctx context.Context, work *workspace) error {
	modules, err := findOne(filepath.Join(work.result(stepModules), "[0-9]*"))
	if err != nil {
		return err
	}
	busybox := filepath.Join(work.result(stepRootFS), "root", "usr", "bin", "busybox")
	if err := addInitramfs(ctx, work, modules, busybox); err != nil {
		return err
	}
	if err := work.command(ctx, "cp", filepath.Join(work.result(stepModules), "vmlinuz"), work.dir); err != nil {
		return err
	}
	tree := filepath.Join(work.dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := work.command(ctx, "cp", "-a", modules, tree); err != nil {
		return err
	}
	if err := makeDisk(ctx, work, tree, "modules.img", modulesImageSize); err != nil {
		return err
	}
	return os.RemoveAll(tree)
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

func addInitramfs(ctx context.Context, work *workspace, modules, busybox string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	shell := initramfsFile{"bin/busybox", program}
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
