package vm

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// claim takes the machine's processors. A machine under KVM shares the host's.
func (m *Machine) claim(ctx context.Context, options Options) error {
	m.processors = &Processors{}
	m.hardware.cpus = options.CPUs
	if m.hardware.cpus == 0 {
		m.hardware.cpus = m.choice.Kind.defaultCPUs()
	}
	if m.choice.Kind == KindKVM {
		return nil
	}
	waiting := func() { options.Note("waiting for a processor: other machines of the lab hold all") }
	processors, err := ClaimProcessors(ctx, m.hardware.cpus, waiting)
	if err != nil {
		return fmt.Errorf("waiting for a processor: %w", err)
	}
	m.processors = processors
	if options.CPUs == 0 {
		m.hardware.cpus = len(processors.numbers)
	}
	return nil
}

// withoutUdev becomes an environment variable of the guest's first program, and so of all
// programs. Without it zpool waits 3 seconds for udev, which no guest has, whenever it lists,
// creates or imports a pool.
const withoutUdev = "ZFS_VDEV_DEVID_OPT_OUT=YES"

// withoutRAID saves the 0.8 seconds in which a booting User-Mode Linux kernel measures which
// RAID 6 algorithm is the fastest. Btrfs has it built in; no test has such a RAID.
const withoutRAID = "initcall_blacklist=raid6_init"

// prepare makes the disks, and settles what the hardware is.
func (m *Machine) prepare(g *Guest, options Options) error {
	pool := options.KeepPool
	if pool == "" {
		pool = filepath.Join(m.dir, "pool.img")
	}
	if err := preparePool(pool, options.PoolSize, options.Pool); err != nil {
		return fmt.Errorf("preparing the pool disk: %w", err)
	}
	jobDisk, err := m.writeJobDisk()
	if err != nil {
		return err
	}
	nonce := rand.Text()
	words := []string{"lab.nonce=" + nonce, "lab.pool=" + string(options.Pool), "lab.job=/dev/vdc", withoutUdev}
	if m.keep {
		words = append(words, "lab.keep=yes")
	}
	if options.CheckLeaks {
		words = append(words, "lab.leaks=check")
	}
	m.end = trailer(nonce)
	m.hardware = hardware{
		accel:  m.choice.accel,
		memory: options.Memory, cpus: m.hardware.cpus,
		kernel: g.kernel, initramfs: g.initramfs,
		cmdline: append(words, options.Append...),
		console: m.console,
		root:    g.root, pool: pool, poolDirect: supportsDirect(pool), job: jobDisk, modules: g.modules,
		terminal: options.Terminal,
	}
	if m.choice.Kind != KindUML {
		return nil
	}
	m.hardware.cmdline = append(m.hardware.cmdline, withoutRAID)
	kernel := g.uml.built()
	m.hardware.kernel, m.hardware.initramfs, m.hardware.modules = kernel.kernel, kernel.initramfs, kernel.modules
	return m.prepareUML(options)
}

// prepareUML finds room for the memory of a User-Mode Linux machine.
func (m *Machine) prepareUML(options Options) error {
	need, err := parseMemory(options.Memory)
	if err != nil {
		return err
	}
	slower := ""
	if m.hardware.memoryDir, slower, err = memoryDir(need); err != nil {
		return err
	}
	if slower != "" {
		options.Note(slower)
	}
	return umlLinks(m.dir, m.hardware)
}

// writeJobDisk writes the job as a disk that holds nothing but a tar.
func (m *Machine) writeJobDisk() (string, error) {
	file, err := os.Create(filepath.Join(m.dir, "job.tar"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := m.job.writeTar(file); err != nil {
		return "", err
	}
	// The guest's tar reads whole records of 10 KiB.
	end, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return "", err
	}
	const alignment = 1 << 20
	if err := file.Truncate((end/alignment + 1) * alignment); err != nil {
		return "", err
	}
	return file.Name(), file.Close()
}
