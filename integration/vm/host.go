package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// hostPrograms are what the host needs, and the Debian packages that have it.
var hostPrograms = []struct{ program, pkg string }{
	{"qemu-system-x86_64", "qemu-system-x86"},
	{"mmdebstrap", "mmdebstrap"},
	{"mke2fs", "e2fsprogs"},
	{"xz", "xz-utils"},
	{"zstd", "zstd"},
}

// missingPackages lists the packages of programs that look does not find.
func missingPackages(look func(program string) error) []string {
	var missing []string
	for _, need := range hostPrograms {
		if look(need.program) != nil {
			missing = append(missing, need.pkg)
		}
	}
	return missing
}

func lookPath(program string) error {
	// An ordinary user's PATH has no sbin.
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if _, err := exec.LookPath(dir + program); err == nil {
			return nil
		}
	}
	return exec.ErrNotFound
}

// ensureHost makes the host fit: on a Debian-like one it installs what is
// missing or too old, elsewhere it says what to install.
func ensureHost(ctx context.Context, cache string, progress *progress) error {
	if err := installMissing(ctx, progress); err != nil {
		return err
	}
	ensureSoundQEMU(ctx, cache, progress)
	return nil
}

func installMissing(ctx context.Context, progress *progress) error {
	missing := missingPackages(lookPath)
	if len(missing) == 0 {
		return nil
	}
	if lookPath("apt-get") != nil {
		return fmt.Errorf("missing programs: install what Debian packages as %s", strings.Join(missing, " "))
	}
	progress.note("installing %s", strings.Join(missing, " "))
	install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, missing...)
	if asRoot(ctx, progress.out, install...) == nil {
		return nil
	}
	// Without package lists, or with old ones.
	if err := asRoot(ctx, progress.out, "apt-get", "update"); err != nil {
		return err
	}
	return asRoot(ctx, progress.out, install...)
}

// asRoot runs a command as root, through sudo when need be.
func asRoot(ctx context.Context, out io.Writer, command ...string) error {
	if os.Geteuid() != 0 {
		if lookPath("sudo") != nil {
			return fmt.Errorf("neither root nor sudo: run as root: %s", strings.Join(command, " "))
		}
		command = append([]string{"sudo"}, command...)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return nil
}

// BuildStepsCommand is the hidden command by which a build started without
// root runs its steps again as root; its arguments are a suite or the directory
// of the User-Mode Linux kernel, the last step, the cache, and the user to give
// the cache to.
const BuildStepsCommand = "build-steps"

// buildArgs say which steps a build runs.
type buildArgs struct{ what, step, cache string }

// buildAsRoot runs the steps here, or by sudo in a second process: chroots and
// files of other owners are beyond an ordinary user. The caller holds the lock.
func buildAsRoot(ctx context.Context, args buildArgs, out io.Writer, build func() error) error {
	if os.Geteuid() == 0 {
		return build()
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return asRoot(ctx, out, self, BuildStepsCommand, args.what, args.step, args.cache, strconv.Itoa(os.Getuid()))
}

// BuildStepsAs is the body of [BuildStepsCommand].
func BuildStepsAs(ctx context.Context, what, step, cache, owner string, out io.Writer) error {
	target, err := namedStep(what, step)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("only root runs the steps")
	}
	uid, err := strconv.Atoi(owner)
	if err != nil {
		return err
	}
	err = runSteps(ctx, cache, target, newProgress(out))
	// Not its contents: a guest's files keep their owners.
	for _, dir := range []string{cache, cache + "/logs"} {
		err = errors.Join(err, os.Chown(dir, uid, -1))
	}
	return err
}

func namedStep(what, name string) (*step, error) {
	var targets []*step
	if what == umlCache {
		spec, err := loadUMLSpec()
		if err != nil {
			return nil, err
		}
		for _, kernel := range append(KernelNames(), "") {
			targets = append(targets, umlSteps(spec, kernel))
		}
	} else {
		suite, err := LoadSuite(what)
		if err != nil {
			return nil, err
		}
		recipe := newRecipe(suite)
		targets = []*step{recipe.image, recipe.kernel, recipe.packages}
	}
	for _, target := range targets {
		if target.name == name {
			return target, nil
		}
	}
	return nil, fmt.Errorf("no step %q of %s", name, what)
}
