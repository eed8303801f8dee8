package vm

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed guest
var guestFiles embed.FS

// Names of the steps, which are directories of the cache.
const (
	stepBuildRoot = "buildroot"
	stepModules   = "modules"
	stepRootFS    = "rootfs"
	stepBase      = "base"
	stepPackages  = "packages"
	stepImage     = "image"
	stepKernel    = "kernel"
)

// recipe is how a guest is made. Its root disk serves every kind of machine;
// a stock kernel, which takes most of the time, is made for the kinds that boot it.
// Packages for jobs are no part of the disk, so they can change without it.
type recipe struct{ image, kernel, packages *step }

// newRecipe is the recipe of a suite's guest.
//
// The kernel comes from the build root only, so that the modules always belong
// to it, however old the rest of the cache is. The mirrors are no inputs: where
// packages come from does not change what they are.
func newRecipe(suite *Suite) recipe {
	buildRoot := &step{
		name: stepBuildRoot, title: "kernel and compiler", scratch: true,
		inputs: []any{suite.Sources, suite.Build, suite.Kernel},
		run:    func(ctx context.Context, work *workspace) error { return makeBuildRoot(ctx, work, suite) },
	}
	modules := &step{
		name: stepModules, title: "ZFS kernel modules", needs: []*step{buildRoot},
		inputs: guestFile("build-zfs"),
		run:    makeModules,
	}
	rootFS := &step{
		name: stepRootFS, title: "guest packages",
		inputs: []any{suite.Sources, suite.Guest},
		run:    func(ctx context.Context, work *workspace) error { return makeRootFS(ctx, work, suite) },
	}
	base := &step{
		name: stepBase, title: "base image and packages for jobs",
		inputs: []any{suite.Sources, suite.Base, "whole"},
		run:    func(ctx context.Context, work *workspace) error { return makeBase(ctx, work, suite) },
	}
	return recipe{
		image: &step{
			name: stepImage, title: "disk image", needs: []*step{rootFS, base},
			inputs: []any{labFiles(), suite.Dockerd, rootImageSize},
			run:    func(ctx context.Context, work *workspace) error { return makeImage(ctx, work, suite) },
		},
		kernel: &step{
			name: stepKernel, title: "stock kernel", needs: []*step{modules, rootFS},
			inputs: []any{guestFile("initramfs-init"), guestFile("probe-init")},
			run:    makeKernel,
		},
		packages: &step{
			name: stepPackages, title: "packages for jobs",
			inputs: []any{suite.Sources, suite.Packages},
			run: func(ctx context.Context, work *workspace) error {
				return downloadPackages(ctx, work, suite, suite.Packages)
			},
		},
	}
}

func guestFile(name string) string {
	data, err := guestFiles.ReadFile("guest/" + name)
	if err != nil {
		panic(err) // embedded: a typing error in this package
	}
	return string(data)
}

// labFiles are the programs of the guest's /lab directory.
func labFiles() map[string]string {
	files := map[string]string{}
	for _, name := range []string{"init", "run-job", "prepare-pool", "leftovers"} {
		files[name] = guestFile(name)
	}
	return files
}

// slim leaves out what no machine reads.
var slim = []string{
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
}

// bootstrap makes a Debian root with mmdebstrap. Output ending in .tar is an
// archive, otherwise a directory.
func bootstrap(ctx context.Context, work *workspace, suite *Suite, root Root, output string, extra ...string) error {
	mirrors, err := HostMirrors()
	if err != nil {
		return err
	}
	// Not *.sources: mmdebstrap would take that for the other format.
	list := filepath.Join(work.dir, "apt.list")
	if err := os.WriteFile(list, []byte(suite.Sources.sourceList(mirrors)), 0o644); err != nil {
		return err
	}
	defer os.Remove(list)
	args := []string{
		"--mode=root", "--variant=" + root.Variant,
		"--aptopt=" + `Acquire::Check-Valid-Until "false"`, // mirrors and snapshots may stand still
		"--aptopt=" + `APT::Install-Recommends "false"`,
	}
	if len(root.Packages) > 0 {
		args = append(args, "--include="+strings.Join(root.Packages, ","))
	}
	if preferences := suite.preferences(); preferences != "" {
		file := filepath.Join(work.dir, "preferences")
		if err := os.WriteFile(file, []byte(preferences), 0o644); err != nil {
			return err
		}
		defer os.Remove(file)
		args = append(args, "--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\" && cp '"+file+"' \"$1/etc/apt/preferences.d/lab\"")
	}
	args = append(args, extra...)
	return work.command(ctx, "mmdebstrap", append(args, suite.Sources.Suites[0], output, list)...)
}

// download has APT fetch packages as files into a directory of the chroot,
// which mmdebstrap sees as $1.
func download(dir string, packages []string) string {
	return fmt.Sprintf(`--customize-hook=mkdir -p "$1/%s" && chroot "$1" sh -c 'cd /%s && apt-get -o APT::Sandbox::User=root download %s'`,
		dir, dir, strings.Join(packages, " "))
}

func makeBuildRoot(ctx context.Context, work *workspace, suite *Suite) error {
	root := suite.Build.Root
	root.Packages = append([]string{suite.Kernel.Image, suite.Kernel.Headers}, root.Packages...)
	return bootstrap(ctx, work, suite, root, filepath.Join(work.dir, "root"),
		append(slim, download("root", []string{suite.Build.DKMS}))...)
}

// chrootWithProc runs the program $2 in the root $1, with /proc: the kernel's
// objtool reads it from 7.2 on. Run in a mount name space of its own, it leaves
// nothing mounted, however it ends.
const chrootWithProc = `mount -t proc proc "$1/proc" && exec chroot "$1" "$2"`

func makeModules(ctx context.Context, work *workspace) error {
	root := filepath.Join(work.result(stepBuildRoot), "root")
	script := filepath.Join(root, "root", "build-zfs")
	if err := os.WriteFile(script, []byte(guestFile("build-zfs")), 0o755); err != nil {
		return err
	}
	if err := work.command(ctx, "unshare", "--mount", "sh", "-c", chrootWithProc, "sh", root, "/root/build-zfs"); err != nil {
		return err
	}
	kernel, err := findOne(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	if err := work.command(ctx, "cp", kernel, filepath.Join(work.dir, "vmlinuz")); err != nil {
		return err
	}
	modules, err := findOne(filepath.Join(root, "lib", "modules", "*"))
	if err != nil {
		return err
	}
	if err := work.command(ctx, "cp", "-a", modules, work.dir); err != nil {
		return err
	}
	// Links into the build root, which goes away.
	for _, link := range []string{"build", "source"} {
		if err := os.RemoveAll(filepath.Join(work.dir, filepath.Base(modules), link)); err != nil {
			return err
		}
	}
	return nil
}

func makeRootFS(ctx context.Context, work *workspace, suite *Suite) error {
	return bootstrap(ctx, work, suite, suite.Guest, filepath.Join(work.dir, "root"), slim...)
}

// makeBase makes the image that jobs import as it comes, documentation
// included: as many small files as a real one has.
func makeBase(ctx context.Context, work *workspace, suite *Suite) error {
	tar := filepath.Join(work.dir, "debian-base.tar")
	if err := bootstrap(ctx, work, suite, suite.Base.Root, tar); err != nil {
		return err
	}
	if len(suite.Base.Debs) == 0 {
		return nil
	}
	return downloadPackages(ctx, work, suite, suite.Base.Debs)
}

// packagesDir is the directory of packages as files in a step's result.
const packagesDir = "debs"

func downloadPackages(ctx context.Context, work *workspace, suite *Suite, packages []string) error {
	scratch := filepath.Join(work.dir, "scratch")
	if err := bootstrap(ctx, work, suite, Root{Variant: "apt"}, scratch, download(packagesDir, packages)); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(scratch, packagesDir), filepath.Join(work.dir, packagesDir)); err != nil {
		return err
	}
	return os.RemoveAll(scratch)
}

// findOne expands a pattern that has to match exactly one file.
func findOne(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", errors.New("expected one " + pattern + ", found " + fmt.Sprint(found))
	}
	return found[0], nil
}
