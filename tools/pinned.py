"""Packages from PyPI at pinned versions, each set in a virtual environment of its own."""
import os, platform, shutil, subprocess, sys


def fail(message, fix):
    sys.exit('error: %s\nfix: %s' % (message, fix))


def install(folder, packages, megabytes):
    """The python of a virtual environment with exactly these packages, to download in MB; what is there already stays."""
    python = os.path.join(folder, 'bin', 'python')
    installed = []
    if os.path.exists(python):
        installed = subprocess.run([python, '-m', 'pip', 'freeze'], capture_output=True, text=True).stdout.split()
    if not set(packages) <= set(installed):
        print('installing %s in %s, to download: %d MB' % (' '.join(packages), folder, megabytes), flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        if subprocess.run([sys.executable, '-m', 'venv', folder]).returncode:
            fail('python3 cannot make a virtual environment', 'apt-get install -y python3-venv')
        pip = [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:']
        if subprocess.run([*pip, *packages]).returncode:
            fail('pip could not install ' + ' '.join(packages),
                 'check that PyPI can be reached and that Python %s is 3.11 or later' % platform.python_version())
    return python
