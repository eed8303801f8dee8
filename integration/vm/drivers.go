package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// bootDrivers are what the guest needs before it has its root disk, and to talk
// to the host. A kernel has each as a module or built in.
var bootDrivers = []string{"virtio_pci", "virtio_blk", "virtio_console"}

// readDrivers reads those that are modules, as files of the initramfs whose
// names sort as they have to be loaded.
func readDrivers(ctx context.Context, modules string) ([]initramfsFile, error) {
	dependencies, err := os.ReadFile(filepath.Join(modules, "modules.dep"))
	if err != nil {
		return nil, err
	}
	var files []initramfsFile
	for i, module := range loadOrder(string(dependencies), bootDrivers) {
		data, err := readModule(ctx, filepath.Join(modules, module))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", module, err)
		}
		files = append(files, initramfsFile{fmt.Sprintf("%02d-%s.ko", i, moduleName(module)), data})
	}
	return files, nil
}

// loadOrder lists the files of modules and of all that they need, each after
// what it needs itself. dependencies is depmod's modules.dep: a line for each
// module, with what it needs behind a colon, the first to load last. What is
// built in is not there.
func loadOrder(dependencies string, names []string) []string {
	needs := map[string][]string{}
	for line := range strings.Lines(dependencies) {
		module, rest, _ := strings.Cut(line, ":")
		needs[moduleName(module)] = append([]string{module}, strings.Fields(rest)...)
	}
	var order []string
	for _, name := range names {
		for _, module := range slices.Backward(needs[name]) {
			if !slices.Contains(order, module) {
				order = append(order, module)
			}
		}
	}
	return order
}

// moduleName is the module of a file such as kernel/drivers/block/virtio_blk.ko.xz.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return name
}

// readModule reads a kernel module, which may be compressed.
func readModule(ctx context.Context, file string) ([]byte, error) {
	unpack := map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"}[filepath.Ext(file)]
	if unpack == "" {
		return os.ReadFile(file)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, unpack, "-dc", file)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	return out.Bytes(), err
}
