package walkthrough

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// runOnTerminal runs a command on a terminal of its own, types the input, and returns what
// the terminal shows.
func runOnTerminal(cmd *exec.Cmd, input string) ([]byte, error) {
	master, terminal, err := openTerminal()
	if err != nil {
		return nil, err
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	if closed := terminal.Close(); err == nil {
		err = closed
	}
	if err == nil {
		_, err = master.WriteString(input)
	}
	if err != nil {
		return nil, err
	}
	shown, err := io.ReadAll(master)
	if errors.Is(err, unix.EIO) { // the last process on the terminal has ended
		err = nil
	}
	return bytes.ReplaceAll(shown, []byte("\r\n"), []byte("\n")), errors.Join(err, cmd.Wait())
}

// openTerminal opens both ends of a new pseudo terminal.
func openTerminal() (master, terminal *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, terminal, nil
}
