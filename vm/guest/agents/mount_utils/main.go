// SPDX-License-Identifier: Apache-2.0

// Command mount-utils-agent mounts one volume as a kubelet does: with SafeFormatAndMount of the
// Kubernetes mount utilities, just as they are packaged, called again after every failure. It says
// nothing when it fails for good, for a kubelet never does.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"
	utilexec "k8s.io/utils/exec"
	"k8s.io/utils/mount"
)

// The pauses between the attempts of one operation on a volume: kubernetes,
// pkg/util/goroutinemap/exponentialbackoff.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 2*time.Minute + 2*time.Second
)

// Where the kernel shows block devices, and the file of a virtio disk that holds its serial.
const blockFolder = "/sys/class/block"

const usage = "usage: mount-utils-agent DEVICE|serial:SERIAL TARGET [FSTYPE [OPTION,...]]"

// deviceOf gives the path of a device that is named by its path or by its serial.
func deviceOf(name string) (string, error) {
	serial := strings.TrimPrefix(name, "serial:")
	if serial == name {
		return name, nil
	}
	disks, err := os.ReadDir(blockFolder)
	if err != nil {
		return "", err
	}
	for _, disk := range disks {
		text, err := os.ReadFile(filepath.Join(blockFolder, disk.Name(), "serial"))
		if err == nil && strings.TrimSpace(string(text)) == serial {
			return "/dev/" + disk.Name(), nil
		}
	}
	return "", fmt.Errorf("no disk has the serial %q", serial)
}

// mountVolume is one attempt: what a kubelet's volume plugin does for a disk that is attached.
func mountVolume(mounter *mount.SafeFormatAndMount, name, target, fsType string,
	options []string) error {
	device, err := deviceOf(name)
	if err != nil {
		return err
	}
	notMounted, err := mounter.IsLikelyNotMountPoint(target)
	if os.IsNotExist(err) {
		err = os.MkdirAll(target, 0750)
		notMounted = true
	}
	if err != nil || !notMounted {
		return err
	}
	return mounter.FormatAndMount(device, target, fsType, options)
}

func main() {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", "4"); err != nil {
		klog.Fatal(err)
	}
	arguments := os.Args[1:]
	if len(arguments) < 2 || len(arguments) > 4 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	fsType := "ext4"
	if len(arguments) > 2 {
		fsType = arguments[2]
	}
	var options []string
	if len(arguments) > 3 && arguments[3] != "" {
		options = strings.Split(arguments[3], ",")
	}
	mounter := &mount.SafeFormatAndMount{Interface: mount.New(""), Exec: utilexec.New()}
	pause := firstPause
	for {
		err := mountVolume(mounter, arguments[0], arguments[1], fsType, options)
		if err == nil {
			break
		}
		klog.Errorf("volume %s: %v; again in %v", arguments[0], err, pause)
		time.Sleep(pause)
		pause *= 2
		if pause > longestPause {
			pause = longestPause
		}
	}
	klog.Infof("volume %s is mounted at %s", arguments[0], arguments[1])
	// A kubelet goes on running.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
